"""Workloads driven by LoadGen: accuracy equals direct evaluation, official settings are official, own files work."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from benchmarks.accuracy.task_metric import TaskMetric
from benchmarks.loadgen.run import run_loadgen
from benchmarks.loadgen.settings import LoadgenRequest, LoadgenSettings, Mode, Scenario
from benchmarks.mlperf.rules import ModelFacts
from benchmarks.mlperf.run import summarise_workload, workload_settings
from benchmarks.workloads.opening import workload_place
from benchmarks.workloads.registry import find_workload
from engines.onnxruntime.engine import OnnxRuntimeEngine
from graphs.errors import BadInput
from tests.benchmarks.workloads.graphs_for_tests import save_graph

OWN = """
import numpy as np
from benchmarks.score import Score
from benchmarks.workloads.workload import Workload

class Sums:
    def __init__(self, folder, inputs, outputs):
        self.rows = np.load(folder / "rows.npy")

    def __len__(self):
        return len(self.rows)

    def feed(self, index):
        length = 2 + index % 3
        return {"x": np.resize(self.rows[index], (1, length)).astype(np.float32)}

    def answers(self, outputs, rows):
        return [row.reshape(1).astype(np.float64) for row in outputs["sum"]]

    def score(self, answers):
        wanted = [np.resize(self.rows[k], 2 + k % 3).sum(dtype=np.float64) for k in sorted(answers)]
        right = np.isclose([answers[k][0] for k in sorted(answers)], wanted, rtol=1e-4)
        right[0] = False
        return Score("sums right", float(right.mean()), right.astype(float), samples=len(right))

WORKLOAD = Workload("sums", Sums, "sums right", "rows.npy", reference=1.0, server_latency_ms=500.0)
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's workload file, its data, and a model of sequences of any length."""
    place = tmp_path_factory.mktemp("own")
    (place / "sums.py").write_text(OWN)
    np.save(place / "rows.npy", np.random.default_rng(0).standard_normal((200, 4)))
    save_graph(
        "sums (float[batch,length] x) => (float[batch] sum) { sum = ReduceSum <keepdims = 0> (x, axis) }",
        place / "sums.onnx",
        {"axis": np.array([1])},
    )
    return place


def request(place: Path, settings: LoadgenSettings, log_dir: Path) -> LoadgenRequest:
    return LoadgenRequest(
        str(place / "sums.onnx"), (), settings, str(log_dir), task=workload_place(str(place / "sums.py"), place)
    )


@pytest.mark.parametrize("scenario", [Scenario.OFFLINE, Scenario.SERVER])
def test_accuracy_over_loadgen_equals_direct_evaluation(scenario: Scenario, place: Path, tmp_path: Path) -> None:
    settings = LoadgenSettings(scenario, Mode.ACCURACY, max_batch=8, target_qps=500.0, workers=2)
    asked = request(place, settings, tmp_path)
    result = run_loadgen(asked)
    summary = summarise_workload(asked, result, ModelFacts())
    assert result.valid, result.reasons
    with OnnxRuntimeEngine(place / "sums.onnx") as engine:
        direct = TaskMetric.load(f"workload:{place / 'sums.py'}:{place}").score(engine)
    assert summary.accuracy is not None
    assert summary.accuracy.value == direct.value == 1 - 1 / 200
    assert summary.accuracy.samples == 200
    assert summary.accuracy.ok and summary.division.name.startswith("none")


def test_official_settings_come_from_loadgen_and_bounds_from_the_workload(place: Path, tmp_path: Path) -> None:
    given = LoadgenSettings(Scenario.SERVER, duration_s=1.0, target_qps=700.0, shortened=True)
    settings = workload_settings(find_workload(str(place / "sums.py")), given, mlperf=True)
    asked = request(place, settings, tmp_path)
    result = run_loadgen(asked)
    summary = summarise_workload(asked, result, ModelFacts())
    detail = (tmp_path / "mlperf_log_detail.txt").read_text()

    def logged(key: str) -> str:
        found = re.search(rf'"key": "effective_{key}", "value": ([^,]+),', detail)
        assert found is not None, key
        return found.group(1)

    assert logged("qsl_rng_seed") == "2085463073848966840"
    assert logged("target_latency_ns") == "500000000", "the workload's bound, not the configuration's default"
    assert logged("min_duration_ms") == "1000", "shortened, and said so"
    assert logged("performance_sample_count") == "200"
    assert any("shortened to 1 s" in reason for reason in summary.division.unofficial)
    assert result.valid, result.reasons


def test_the_first_samples_alone_can_be_run(place: Path, tmp_path: Path) -> None:
    from dataclasses import replace

    settings = LoadgenSettings(Scenario.OFFLINE, Mode.ACCURACY)
    asked = request(place, settings, tmp_path)
    result = run_loadgen(replace(asked, task=workload_place(str(place / "sums.py"), place, 20)))
    assert result.score is not None and result.score.samples == 20
    assert result.score.value == 1 - 1 / 20


def test_unusable_workloads_are_named(place: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.py").write_text("WORKLOAD = 3\n")
    with pytest.raises(BadInput, match="'WORKLOAD' is a int"):
        find_workload(str(tmp_path / "empty.py"))
    with pytest.raises(BadInput, match="no such file"):
        find_workload(str(tmp_path / "nothing.py"))
    with pytest.raises(BadInput, match="3d-unet has no Server scenario"):
        workload_settings(find_workload("3d-unet"), LoadgenSettings(Scenario.SERVER), mlperf=False)
    with pytest.raises(BadInput, match=r"val_map\.txt"):
        run_loadgen(
            LoadgenRequest(
                str(place / "sums.onnx").replace("sums.onnx", "image.onnx"),
                (),
                LoadgenSettings(Scenario.OFFLINE),
                str(tmp_path / "log"),
                task=workload_place("resnet50", tmp_path),
            )
            if save_graph(
                "m (float[batch,3,8,8] x) => (float[batch,3,8,8] y) { y = Identity(x) }", place / "image.onnx"
            )
            else request(place, LoadgenSettings(Scenario.OFFLINE), tmp_path)
        )
