"""The comparison of both ways to fill pinned memory, on a fake device."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines import pieces
from engines.manifest import MANIFEST_NAME
from engines.tensorrt.runtime.engine import GpuSettings, TensorRtEngine
from studies.gpu_check.staging import compare_ways, main
from tests.engines.cuda.fake_cuda import FakeCuda
from tests.engines.cuda.fake_tensorrt import ONE_PROFILE, FakeEngine, batch, fake_library


def test_both_ways_have_their_turns_and_the_usual_one_is_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    usual, cuda = pieces.LARGE_BYTES, FakeCuda()
    plan = FakeEngine(cuda, ONE_PROFILE)
    with TensorRtEngine(plan, fake_library(), cuda, GpuSettings(slots=2), tmp_path / "engine.plan") as engine:
        compare_ways(engine, {"x": batch(8)}, 8)
    told = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in told] == ["batch 8, at once", "batch 8, in pieces"]
    assert all("samples/s" in line for line in told) and usual == pieces.LARGE_BYTES


def test_a_folder_that_is_no_bundle_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path), "h200"]) == 2
    assert capsys.readouterr().err.startswith("staging: ") and not (tmp_path / MANIFEST_NAME).exists()
