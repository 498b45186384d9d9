"""Streams, streamed weights, lean runtime, choice of CUDA runtime; without a GPU each says what is missing."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from engines.cuda import open as open_module
from engines.cuda.open import VARIABLE, default_runtime, open_runtime
from engines.errors import BuildError, EngineError
from engines.targets.gpus_here import detect_gpus
from engines.tensorrt import library as library_module
from engines.tensorrt.library import load_runtime
from engines.tensorrt.runtime.engine import GpuSettings, TensorRtEngine
from engines.tensorrt.runtime.plan import stream_weights
from graphs.errors import BadInput
from tests.engines.cuda.fake_cuda import FakeCuda
from tests.engines.cuda.fake_tensorrt import FakeEngine, fake_library

without_gpu = pytest.mark.skipif(bool(detect_gpus()), reason="there is a GPU here")


def test_copies_and_compute_have_streams_of_their_own(tmp_path: Path) -> None:
    cuda = FakeCuda()
    plan = FakeEngine(cuda, [((1, 3), (4, 3), (16, 3))])
    settings = GpuSettings(slots=2, graphs=False)
    with TensorRtEngine(plan, fake_library(), cuda, settings, tmp_path / "engine.plan") as engine:
        assert cuda.opened.count("stream") == 4
        x = np.ones((4, 3), np.float32)
        flight = engine.submit({"x": x})  # on the lazy device nothing has run yet: the order is what the events say
        np.testing.assert_array_equal(engine.collect(flight)["y"], 2 * x + 1)
        assert flight.times is not None and flight.times.compute_ms > 0
    assert cuda.closed.count("stream") == 4


def test_weights_are_streamed_where_the_plan_can(tmp_path: Path) -> None:
    engine = SimpleNamespace(streamable_weights_size=1 << 30, weight_streaming_budget_v2=-1)
    stream_weights(fake_library(), engine, None, tmp_path)
    assert engine.weight_streaming_budget_v2 == -1
    stream_weights(fake_library(), engine, 256, tmp_path)
    assert engine.weight_streaming_budget_v2 == 256 << 20
    engine.streamable_weights_size = 0
    with pytest.raises(EngineError, match="cannot be streamed") as caught:
        stream_weights(fake_library(), engine, 256, tmp_path)
    assert "weight_streaming=on" in caught.value.fix


@pytest.mark.parametrize(
    ("installed", "compatible", "loaded"),
    [
        ({"tensorrt", "tensorrt_lean"}, True, "tensorrt"),
        ({"tensorrt_lean"}, True, "tensorrt_lean"),
        ({"tensorrt_lean"}, False, "tensorrt"),
        (set(), True, "tensorrt"),
    ],
)
def test_the_lean_runtime_steps_in_for_version_compatible_plans(
    monkeypatch: pytest.MonkeyPatch, installed: set[str], compatible: bool, loaded: str
) -> None:
    monkeypatch.setattr(library_module, "installed", lambda name: name in installed)
    monkeypatch.setattr(library_module, "load_library", lambda name: name)
    assert load_runtime("tensorrt", version_compatible=compatible) == loaded


def test_a_missing_library_is_named_with_its_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library_module, "installed", lambda name: False)
    with pytest.raises(BuildError, match="tensorrt is not installed") as caught:
        load_runtime("tensorrt", version_compatible=True)
    assert "pip install" in caught.value.fix


def test_the_cuda_runtime_is_named_by_argument_or_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert default_runtime() == "cuda-python"
    monkeypatch.setenv(VARIABLE, "opencl")
    with pytest.raises(BadInput, match="opencl") as caught:
        open_runtime()
    assert caught.value.expected == "cuda-python or pycuda"
    assert open_module.check_runtime_name("pycuda") == "pycuda"


@without_gpu
@pytest.mark.parametrize("name", ["cuda-python", "pycuda"])
def test_without_a_gpu_each_runtime_says_what_is_missing(name: str) -> None:
    with pytest.raises(EngineError) as caught:
        open_runtime(name)
    assert any(word in caught.value.what for word in ("driver", "not installed", "sees no GPU", "cannot be imported"))
    assert caught.value.fix
