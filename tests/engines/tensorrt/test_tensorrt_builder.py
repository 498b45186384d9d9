"""The builder in this process, where its use of the library can be watched."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from engines.errors import BuildError
from engines.profile import ShapeProfile
from engines.tensorrt.builder import build_plan as builder
from engines.tensorrt.builder.build_plan import build_plan
from engines.tensorrt.builder.messages import BuildMessages
from engines.tensorrt.builder.request import PlanRequest, StepDone
from engines.tensorrt.library import load_library, process_logger
from engines.tensorrt.options import apply_options

pytestmark = pytest.mark.usefixtures("rtx")


@pytest.fixture
def request_for(conv_model: Path, conv_profile: ShapeProfile, tmp_path: Path):
    def make(**more) -> PlanRequest:
        plan = str(tmp_path / "engine.plan")
        return PlanRequest(str(conv_model), plan, "tensorrt_rtx", "SM80", (conv_profile,), **more)

    return make


def test_steps_are_told_and_the_plan_is_written(request_for) -> None:
    steps: list[StepDone] = []
    request = request_for()
    built = build_plan(request, steps.append, BuildMessages())
    assert [step.stage for step in steps][:2] == ["parsing", "building"]
    assert steps[-1].stage == "writing"
    assert any(step.total > 1 and step.done == step.total for step in steps)
    assert Path(request.plan).stat().st_size > 1000
    assert built.build_seconds > 0


def test_two_builds_give_the_same_bytes(request_for) -> None:
    request = request_for()
    build_plan(request, lambda _: None, BuildMessages())
    first = Path(request.plan).read_bytes()
    build_plan(request, lambda _: None, BuildMessages())
    assert Path(request.plan).read_bytes() == first


def test_options_reach_the_builder_configuration() -> None:
    trt = load_library("tensorrt_rtx")
    config = trt.module.Builder(process_logger(trt)).create_builder_config()
    apply_options({"workspace_mb": "64", "optimization_level": "1", "tf32": "off"}, trt, config)
    assert config.get_memory_pool_limit(trt.module.MemoryPoolType.WORKSPACE) == 64 << 20
    assert config.builder_optimization_level == 1
    assert not config.get_flag(trt.module.BuilderFlag.TF32)


@pytest.mark.filterwarnings("ignore:.*Timing cache operations are no-ops:DeprecationWarning")
def test_timing_cache_is_read_and_rewritten_where_the_library_has_one(
    request_for, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trt = load_library("tensorrt_rtx")  # its timing cache does nothing, but its calls are those of full TensorRT
    full = replace(trt, capabilities=replace(trt.capabilities, timing_cache=True))
    monkeypatch.setattr(builder, "load_library", lambda name: full)
    path = tmp_path / "timing" / "cache.bin"
    for _ in range(2):
        build_plan(request_for(timing_cache=str(path)), lambda _: None, BuildMessages())
        assert path.stat().st_size > 0


def test_a_gpu_the_library_does_not_know_is_refused(request_for) -> None:
    with pytest.raises(BuildError, match="does not build for SM90"):
        build_plan(replace(request_for(), sm="SM90"), lambda _: None, BuildMessages())
