"""Plans of TensorRT 8.5 on the fake device, whose contexts share no optimization profile."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engines.errors import EngineError
from engines.profile import ShapeProfile, ShapeRange
from engines.tensorrt.runtime.engine import GpuSettings, TensorRtEngine
from engines.tensorrt.runtime.layout import read_layout
from engines.tensorrt.runtime.plan import require_readable
from tests.engines.cuda.fake_cuda import FakeCuda
from tests.engines.cuda.fake_tensorrt import batch
from tests.engines.cuda.fake_tensorrt8 import OldEngine, old_library

SMALL, LARGE = ((1, 3), (2, 3), (4, 3)), ((8, 3), (16, 3), (32, 3))


def opened(tmp_path: Path, plan: OldEngine, **settings: int) -> TensorRtEngine:
    return TensorRtEngine(plan, old_library(), plan.cuda, GpuSettings(**settings), tmp_path / "engine.plan")


def test_each_slot_has_its_own_copy_of_every_profile(tmp_path: Path) -> None:
    plan = OldEngine(FakeCuda(), [SMALL, LARGE] * 2)
    with opened(tmp_path, plan, slots=2) as engine:
        assert engine.profiles == (
            ShapeProfile({"x": ShapeRange(*SMALL)}),
            ShapeProfile({"x": ShapeRange(*LARGE)}),
        )
        for first, second in ((2, 20), (3, 1), (32, 9)):  # a profile of another context would be refused
            flights = [engine.submit({"x": batch(first)}), engine.submit({"x": batch(second, 50)})]
            outputs = [engine.collect(flight)["y"] for flight in flights]
            np.testing.assert_array_equal(outputs[0], 2 * batch(first) + 1)
            np.testing.assert_array_equal(outputs[1], 2 * batch(second, 50) + 1)
    assert len(plan.contexts) == 2, "none is spent on captured shapes"


def test_more_slots_than_copies_become_as_many_as_there_are(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    engine = opened(tmp_path, OldEngine(FakeCuda(), [SMALL] * 3), slots=8)
    assert engine.slots == 3
    assert "3 batches at once, not 8" in caplog.text


def test_a_static_plan_has_contexts_and_graphs_as_later_versions_do(tmp_path: Path) -> None:
    shape = (4, 3)
    plan = OldEngine(FakeCuda(), [(shape, shape, shape)], shape=shape)
    with opened(tmp_path, plan, slots=2) as engine:
        for start in (0.0, 5.0, 9.0):
            np.testing.assert_array_equal(engine.infer({"x": batch(4, start)})["y"], 2 * batch(4, start) + 1)
    assert plan.cuda.captures > 0
    assert all(context.memory for context in plan.contexts), "in the slot's memory, given by address"


def test_profiles_that_repeat_are_told_from_two_of_a_kind(tmp_path: Path) -> None:
    trt = old_library().module
    for profiles, distinct, copies in (
        ([SMALL, LARGE, SMALL, LARGE], 2, 2),
        ([SMALL, SMALL, SMALL], 1, 3),
        ([SMALL, LARGE, LARGE], 3, 1),
        ([SMALL], 1, 1),
    ):
        layout = read_layout(trt, OldEngine(FakeCuda(), profiles), "plan")
        assert (len(layout.profiles), layout.copies) == (distinct, copies)


def frame(version: tuple[int, int, int, int], tag: bytes = b"ftrt") -> bytes:
    return tag + bytes(20) + bytes(version) + tag + bytes(60)


@pytest.mark.parametrize(
    ("content", "compatible", "refused"),
    [
        (frame((8, 5, 3, 1)), False, ""),
        (frame((8, 6, 1, 6)), False, "tensorrt 8.6.1.6"),
        (frame((8, 6, 1, 6)), True, ""),
        (frame((10, 4, 0, 26)), True, "tensorrt 10.4.0.26"),
        (frame((1, 7, 1, 116), b"vtrt"), False, "tensorrt_rtx 1.7.1.116"),
        (b"ptrt" + bytes(80), False, ""),  # 8.5's own: no version in it
        (b"what is this" * 8, False, ""),  # left to the library
    ],
)
def test_a_plan_of_another_version_is_refused_before_the_library_sees_it(
    tmp_path: Path, content: bytes, compatible: bool, refused: str
) -> None:
    plan = tmp_path / "engine.plan"
    plan.write_bytes(content)
    if not refused:
        require_readable(old_library(), plan, version_compatible=compatible)
        return
    with pytest.raises(EngineError, match=f"was built by {refused}, and here is TensorRT 8.5.3.1") as caught:
        require_readable(old_library(), plan, version_compatible=compatible)
    assert "install the version that built it" in caught.value.fix
