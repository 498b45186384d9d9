"""The GPU check around stand-ins: engines on the CPU take the place of the GPU's, everything else is the real thing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest

from engines.engine import Engine, TensorSpec
from engines.errors import EngineError
from engines.onnxruntime.engine import OnnxRuntimeEngine
from engines.targets.gpus_here import Gpu
from engines.tensorrt.runtime.engine import GpuSettings, TensorRtEngine
from graphs.errors import BadInput
from studies.gpu_check import __main__ as command
from studies.gpu_check.candidates import Candidate, Job, Prepared, _session
from studies.gpu_check.check import CheckSettings, Data, check
from studies.gpu_check.feeds import load_feeds
from studies.gpu_check.measure import measure_speed
from studies.gpu_check.page import Conditions, ModelResult, page
from studies.gpu_check.runtimes import RuntimeResult
from tests.engines.cuda.fake_cuda import FakeCuda
from tests.engines.cuda.fake_tensorrt import FakeEngine, fake_library

REFERENCE = """<ir_version: 8, opset_import: ["": 17]>
g (float[N, 3] x) => (float[N, 3] y) <float two = {2.0}, float one = {1.0}> { d = Mul(x, two)  y = Add(d, one) }"""
CONDITIONS = Conditions("2026-01-02", "Fake GPU", "SM80", "580.1", "model.onnx", "random", "NVML", {"numpy": "2"})
A10 = Gpu(0, "NVIDIA A10", (8, 6), 24000, "580.1")
T4 = Gpu(1, "Tesla T4", (7, 5), 16000, "580.1")


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
    return page(CONDITIONS, [ModelResult("model.onnx", "ab" * 32, [result])])


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


def test_what_a_library_raises_ends_its_candidate_only(tmp_path: Path) -> None:
    def prepare() -> Prepared:
        raise RuntimeError("cudaErrorIllegalAddress\nin kernel")

    assert "**Stopped:** RuntimeError: cudaErrorIllegalAddress; in kernel" in run(tmp_path, prepare)


def test_inputs_from_a_function(tmp_path: Path) -> None:
    source = tmp_path / "data.py"
    source.write_text("import numpy as np\ndef rows():\n    yield from ({'x': np.full(3, i)} for i in range(1000))\n")
    specs = (TensorSpec("x", "float32", ("N", 3)),)
    feeds = load_feeds(specs, f"{source}:rows")
    assert len(feeds) == 256 and feeds[2]["x"].tolist() == [[2.0, 2.0, 2.0]] and feeds[2]["x"].dtype == np.float32
    with pytest.raises(BadInput, match="lacks input 'z'"):
        load_feeds((TensorSpec("z", "float32", ("N", 3)),), f"{source}:rows")


class TestWithoutAGpu:
    def test_it_says_in_one_line_what_is_missing_and_exits_2(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(command, "used_gpu", lambda: None)
        monkeypatch.setattr(command, "present", lambda: {"tensorrt": False, "TensorRT-RTX": True, "cuda-python": True})
        assert command.main(["model.onnx"]) == 2
        out, error = capsys.readouterr()
        assert out == "" and error.count("\n") == 1 and "no NVIDIA GPU" in error
        assert "Installed here: TensorRT-RTX, cuda-python; not installed: tensorrt" in error

    def test_a_gpu_with_nothing_that_runs_on_it_names_the_packages(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        nothing = dict.fromkeys(("tensorrt", "TensorRT-RTX", "onnxruntime-gpu", "cuda-python"), False)
        monkeypatch.setattr(command, "used_gpu", lambda: A10)
        monkeypatch.setattr(command, "present", lambda: nothing)
        assert command.main(["--look"]) == 2
        assert "pip install onnxruntime-gpu" in capsys.readouterr().err
        monkeypatch.setattr(command, "present", lambda: {**nothing, "TensorRT-RTX": True})
        assert command.main(["--look"]) == 2
        assert "cuda-python is not installed" in capsys.readouterr().err
        monkeypatch.setattr(command, "present", lambda: {**nothing, "onnxruntime-gpu": True})
        assert command.main(["--look"]) == 0


def test_the_whole_command_writes_a_page_per_gpu_and_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """ONNX Runtime's CPU provider stands in for its GPU's; models, LoadGen and the page are the real thing."""
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    model = onnx.parser.parse_model(REFERENCE)
    onnx.save(model, tmp_path / "fp32.onnx")
    onnx.save(model, bundle / "model.onnx")
    monkeypatch.setattr(command, "used_gpu", lambda: A10)
    monkeypatch.setattr(command, "present", lambda: {"onnxruntime-gpu": True})
    monkeypatch.setattr("studies.gpu_check.run.candidates", cpu_provider)
    arguments = [str(tmp_path / "fp32.onnx"), str(bundle), "--out", str(tmp_path / "pages")]
    quick = ["--seconds", "0.05", "--loadgen-seconds", "0.3", "--batches", "1", "4"]
    assert command.main([*arguments, *quick]) == 0
    (written,) = (tmp_path / "pages").iterdir()
    assert written.name.startswith("nvidia-a10-") and str(written) == capsys.readouterr().out.strip()
    text = written.read_text()
    assert text.count("**Predicted, not measured** (NVIDIA A10, roofline)") == 2
    assert text.count("### onnxruntime CPUExecutionProvider") == 2
    assert text.count("| singlestream | valid |") == text.count("| offline | valid |") == 2
    assert command.main([*arguments, *quick[:2], "--loadgen-seconds", "0"]) == 0
    assert len(list((tmp_path / "pages").iterdir())) == 2, "an earlier page is kept"


def cpu_provider(job: Job) -> Iterator[Candidate]:
    yield Candidate("onnxruntime CPUExecutionProvider", partial(_session, job, "CPUExecutionProvider"))


def test_a_missing_model_is_bad_input(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(command, "used_gpu", lambda: A10)
    monkeypatch.setattr(command, "present", lambda: {"onnxruntime-gpu": True})
    assert command.main(["no.onnx"]) == 2
    assert "no.onnx: no such file" in capsys.readouterr().err


def test_the_page_has_the_runtimes_that_opened_and_why_others_did_not() -> None:
    opened = RuntimeResult("cuda-python", "", "A10", "13.0", 12.34, 11.0, 400.0, 20.06, 90.0, ["torch"])
    text = page(CONDITIONS, [], [opened, RuntimeResult("pycuda", "pycuda is not installed")])
    assert "| cuda-python, CUDA 13.0 | 12.3 | 11.0 | 400.0 | 90.0 | 20.1 | torch |" in text
    assert "- pycuda: pycuda is not installed" in text and "| pycuda" not in text
    assert "CUDA runtimes" not in page(CONDITIONS, [])
