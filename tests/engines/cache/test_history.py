"""Estimates from earlier builds: a range with what it stands on, or none."""

from __future__ import annotations

from pathlib import Path

from engines.build import BuildProgress, BuildRequest, build_engine
from engines.cache.history import FILE_NAME, BuildHistory, BuildRecord
from engines.profile import ShapeProfile
from engines.targets.target import TARGETS

RTX = "TensorRT-RTX 1.7"


def history(folder: Path, *records: tuple[str, int, str, float]) -> BuildHistory:
    found = BuildHistory(folder)
    for model, size, sm, seconds in records:
        found.add(BuildRecord(model, size, RTX, sm, seconds))
    return found


def test_without_earlier_builds_there_is_no_estimate(tmp_path: Path) -> None:
    assert history(tmp_path).estimate("m", 100, RTX, "SM80") is None


def test_the_same_model_on_the_same_gpu_counts_first(tmp_path: Path) -> None:
    found = history(tmp_path, ("m", 100, "SM80", 4.0), ("m", 100, "SM80", 6.0), ("m", 100, "SM75", 20.0))
    assert str(found.estimate("m", 100, RTX, "SM80")) == "4 to 6 s in 2 earlier builds of this model"
    assert str(found.estimate("m", 100, RTX, "SM89")) == "4 to 20 s in 3 earlier builds of this model for other targets"
    assert found.estimate("m", 100, "TensorRT 11", "SM80") is None


def test_other_models_count_when_they_are_alike_and_enough(tmp_path: Path) -> None:
    found = history(tmp_path, ("a", 90, "SM80", 3.0), ("b", 110, "SM80", 5.0), ("c", 9000, "SM80", 90.0))
    assert found.estimate("m", 100, RTX, "SM80") is None
    found.add(BuildRecord("d", 150, RTX, "SM80", 4.0))
    assert str(found.estimate("m", 100, RTX, "SM80")) == "3 to 5 s in 3 earlier builds of other models of this size"


def test_a_line_cut_off_by_a_kill_is_skipped(tmp_path: Path) -> None:
    found = history(tmp_path, ("m", 100, "SM80", 4.0))
    with (tmp_path / FILE_NAME).open("a") as file:
        file.write('{"model": "m", "byt\n')
    assert len(found.records()) == 1


def test_a_second_build_knows_what_the_first_took(
    rtx: None, conv_model: Path, conv_profile: ShapeProfile, tmp_path: Path
) -> None:
    seen: list[BuildProgress] = []
    for target in ("a100", "l4"):
        build_engine(BuildRequest(conv_model, TARGETS[target], conv_profile, tmp_path / target, "fp32"), seen.append)
    assert seen[0].estimate is None
    assert "of this model for other targets" in str(seen[-1].estimate)
