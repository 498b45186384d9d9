"""The demo's 10,000 images: accuracy over LoadGen is direct evaluation, to the last image."""

from __future__ import annotations

from pathlib import Path

import optimizer.demo
from benchmarks.loadgen.answers import read_answers
from benchmarks.loadgen.run import run_loadgen
from benchmarks.loadgen.settings import LoadgenRequest, LoadgenSettings, Mode, Scenario
from benchmarks.workloads.opening import workload_place
from engines.onnxruntime.engine import OnnxRuntimeEngine
from optimizer.demo.fashion import MODEL, top1

DEMO = Path(optimizer.demo.__path__[0])


def test_ten_thousand_images_over_loadgen_equal_direct_evaluation(tmp_path: Path) -> None:
    settings = LoadgenSettings(Scenario.OFFLINE, Mode.ACCURACY, batch=64)
    workload = str(DEMO / "fashion_workload.py")
    result = run_loadgen(LoadgenRequest(str(MODEL), (), settings, str(tmp_path), task=workload_place(workload, DEMO)))
    assert result.valid, result.reasons
    with OnnxRuntimeEngine(MODEL) as engine:
        direct = top1(engine.infer)  # the demo's own function, which knows nothing of workloads
    assert result.score is not None and result.score.samples == 10_000
    assert result.score.value == direct["value"]
    assert sorted(index for index, _ in read_answers(tmp_path)) == list(range(10_000))
