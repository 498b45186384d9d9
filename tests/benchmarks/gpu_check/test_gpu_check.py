"""The GPU check around stand-ins: engines on the CPU take the place of the GPU's, everything else is the real thing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest

from benchmarks.gpu_check import __main__ as command
from benchmarks.gpu_check.candidates import Candidate, Prepared
from benchmarks.gpu_check.check import CheckSettings, Data, check
from benchmarks.gpu_check.feeds import load_feeds
from benchmarks.gpu_check.measure import measure_speed
from benchmarks.gpu_check.page import Conditions, page
from engines.engine import Engine, TensorSpec
from engines.errors import BadInput, EngineError
from engines.onnxruntime_engine import OnnxRuntimeEngine
from engines.tensorrt.gpu_engine import GpuSettings, TensorRtEngine
from tests.engines.cuda.fake_cuda import FakeCuda
from tests.engines.cuda.fake_tensorrt import FakeEngine, fake_library

REFERENCE = """<ir_version: 8, opset_import: ["": 17]>
g (float[N, 3] x) => (float[N, 3] y) <float two = {2.0}, float one = {1.0}> { d = Mul(x, two)  y = Add(d, one) }"""
CONDITIONS = Conditions(
    "2026-01-02", "Fake GPU", "SM80", "580.1", "model.onnx", "ab" * 32, "random", "NVML", {"numpy": "2"}
)


class Counter:
    """Ten joules more at every look."""

    def __init__(self) -> None:
        self.value = 0.0

    def joules(self) -> float | None:
        self.value += 10.0
        return self.value


def reference() -> OnnxRuntimeEngine:
    return OnnxRuntimeEngine(onnx.parser.parse_model(REFERENCE).SerializeToString(), threads=1)


def gpu_engine(tmp_path: Path, slots: int = 2) -> TensorRtEngine:
    cuda = FakeCuda()
    plan = FakeEngine(cuda, [((1, 3), (4, 3), (32, 3))])
    return TensorRtEngine(plan, fake_library(), cuda, GpuSettings(slots=slots), tmp_path / "engine.plan")


def run(tmp_path: Path, prepare: Callable[[], Prepared]) -> str:
    with reference() as fp32:
        data = Data(fp32, load_feeds(fp32.inputs, None), (), tmp_path)
        settings = CheckSettings((1, 4), seconds=0.01, loadgen_seconds=0)
        result = check(Candidate("tensorrt", prepare), data, settings, Counter(), lambda _: None)
    return page(CONDITIONS, [result])


def test_the_page_has_accuracy_device_times_throughput_and_energy(tmp_path: Path) -> None:
    text = run(tmp_path, lambda: Prepared(lambda _: gpu_engine(tmp_path), True, ("validity: valid",), 1.5, 2_000_000))
    assert "# Fake GPU, 2026-01-02" in text and "driver 580.1" in text
    assert "Built in 1.5 s, 2.0 MB." in text and "- validity: valid" in text
    assert "| y | 1.000000 | 200.0 | 0 |" in text
    assert "### Speed with CUDA graphs" in text and "### Speed without CUDA graphs" in text
    rows = [line.split("|")[1:-1] for line in text.splitlines() if line.startswith(("| 1 |", "| 4 |"))]
    assert len(rows) == 4
    for row in rows:
        assert "-" not in [cell.strip() for cell in row]
        assert float(row[-2]) > 0 and float(row[-1]) > 0


def test_a_candidate_that_cannot_run_keeps_its_reason(tmp_path: Path) -> None:
    def prepare() -> Prepared:
        raise EngineError("does not build for SM90", fix="use tensorrt")

    assert "**Stopped:** does not build for SM90; fix: use tensorrt" in run(tmp_path, prepare)


def test_a_wrong_answer_shows(tmp_path: Path) -> None:
    wrong = REFERENCE.replace("2.0", "-2.0")
    opened = OnnxRuntimeEngine(onnx.parser.parse_model(wrong).SerializeToString(), threads=1)
    text = run(tmp_path, lambda: Prepared(lambda _: opened, False))
    cosine = float(next(line for line in text.splitlines() if line.startswith("| y |")).split("|")[2])
    assert cosine < 0.5


def test_throughput_counts_every_batch_in_flight(tmp_path: Path) -> None:
    engine: Engine = gpu_engine(tmp_path, slots=3)
    feed = {"x": np.ones((1, 3), np.float32)}
    (row,) = measure_speed(engine, feed, [4], 0.02, Counter())
    assert row.batch == 4 and row.device is not None and row.device.compute_ms == 1.0
    assert row.joules_per_sample is not None
    samples = 10.0 / row.joules_per_sample
    assert samples % 4 == pytest.approx(0, abs=1e-6)
    assert samples / row.samples_per_s >= 0.02


def test_inputs_come_one_sample_at_a_time(tmp_path: Path) -> None:
    specs = (TensorSpec("x", "float32", ("N", 3)),)
    np.savez(tmp_path / "data.npz", x=np.arange(12.0).reshape(4, 3))
    feeds = load_feeds(specs, tmp_path / "data.npz")
    assert [feed["x"].shape for feed in feeds] == [(1, 3)] * 4 and feeds[1]["x"].dtype == np.float32
    with pytest.raises(BadInput, match="lacks input 'z'"):
        load_feeds((TensorSpec("z", "float32", ("N", 3)),), tmp_path / "data.npz")
    with pytest.raises(BadInput, match="open shape"):
        load_feeds((TensorSpec("z", "float32", ("N", "length")),), None)


def test_without_a_gpu_it_says_so_in_one_line_and_exits_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "detect_gpus", list)
    assert command.main(["model.onnx"]) == 2
    out, error = capsys.readouterr()
    assert out == "" and error.count("\n") == 1 and "no NVIDIA GPU" in error
