"""Loading plans with the real TensorRT-RTX library: refusals without a GPU, runs with one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest

from engines.build import BuildRequest, build_engine
from engines.errors import EngineError
from engines.profile import ShapeProfile, ShapeRange
from engines.targets.gpus_here import detect_gpus, native_target
from engines.targets.target import TARGETS
from engines.tensorrt.library import choose_library, load_library
from engines.tensorrt.runtime.engine import GpuSettings, load_plan
from engines.tensorrt.runtime.plan import Validity, deserialize, engine_validity

PROFILE = ShapeProfile({"x": ShapeRange((1, 8), (4, 8), (16, 8))})
MODEL = """<ir_version: 8, opset_import: ["": 17]>
g (float16[N, 8] x) => (float16[N, 8] y) { z = Relu(x)  y = Add(z, z) }"""


def build(folder: Path, target: str) -> Path:
    model = folder / "model.onnx"
    onnx.save(onnx.parser.parse_model(MODEL), model)
    chosen = native_target() if target == "native" else TARGETS[target]
    assert chosen is not None
    request = BuildRequest(model, chosen, PROFILE, folder / "engine", "fp16")
    manifest = build_engine(request, cache=False)
    return folder / "engine" / manifest.file


@pytest.mark.skipif(bool(detect_gpus()), reason="there is a GPU here")
def test_without_a_gpu_a_plan_is_refused_with_the_reason(tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx_bindings", reason="the rtx extra is not installed")
    library = load_library("tensorrt_rtx")
    plan = build(tmp_path, "a100")
    assert engine_validity(library, plan).state == "invalid"
    with pytest.raises(EngineError, match=r"could not load the plan.*CUDA driver version is insufficient") as caught:
        deserialize(library, plan)
    assert caught.value.where == str(plan)
    pytest.importorskip("cuda.bindings.runtime")
    with pytest.raises(EngineError, match="driver"):
        load_plan(plan, "tensorrt_rtx")


@pytest.mark.skipif(bool(detect_gpus()), reason="there is a GPU here")
def test_a_gpu_that_the_library_does_not_know_is_told_to_take_tensorrt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An H200 answered so (docs/measurements); here the library refuses the plan for want of a driver."""
    pytest.importorskip("tensorrt_rtx_bindings", reason="the rtx extra is not installed")
    answer = Validity("invalid", ("unsupported cc",))
    monkeypatch.setattr("engines.tensorrt.runtime.plan.engine_validity", lambda *_: answer)
    with pytest.raises(EngineError, match="does not run on this GPU") as caught:
        deserialize(load_library("tensorrt_rtx"), build(tmp_path, "a100"))
    assert "use TensorRT itself" in caught.value.fix


@pytest.mark.parametrize(("content", "message"), [(None, "no such file"), (b"", "the plan is empty")])
def test_a_missing_or_empty_plan_is_named(tmp_path: Path, content: bytes | None, message: str) -> None:
    pytest.importorskip("tensorrt_rtx_bindings", reason="the rtx extra is not installed")
    plan = tmp_path / "engine.plan"
    if content is not None:
        plan.write_bytes(content)
    with pytest.raises(EngineError, match=message):
        deserialize(load_library("tensorrt_rtx"), plan)


@pytest.mark.skipif(not detect_gpus(), reason="needs an NVIDIA GPU")
@pytest.mark.parametrize("graphs", [True, False])
@pytest.mark.parametrize("runtime", ["cuda-python", "pycuda"])
def test_a_plan_runs_on_the_gpu(tmp_path: Path, graphs: bool, runtime: str) -> None:
    pytest.importorskip("cuda.bindings.runtime" if runtime == "cuda-python" else "pycuda.driver")
    native = native_target()
    assert native is not None
    choice = choose_library(native, native)
    if choice.name is None:
        pytest.skip(choice.reason)
    plan = build(tmp_path, "native")
    rng = np.random.default_rng(0)
    settings = GpuSettings(slots=2, graphs=graphs)
    with load_plan(plan, choice.name, settings=settings, cuda_runtime=runtime) as engine:
        feeds = [{"x": rng.standard_normal((rows, 8)).astype(np.float16)} for rows in (1, 4, 16, 4, 1, 4)]
        flights = [(engine.submit(feed), feed) for feed in feeds[:2]]
        results = [(engine.collect(flight)["y"], feed) for flight, feed in flights]
        results += [(engine.infer(feed)["y"], feed) for feed in feeds[2:]]
        for output, feed in results:
            np.testing.assert_array_equal(output, 2 * np.maximum(feed["x"], 0))
        with pytest.raises(EngineError, match="outside the optimization profile"):
            engine.infer({"x": np.zeros((17, 8), np.float16)})
