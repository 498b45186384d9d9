"""Whole or not at all, whatever happens in between."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from graphs.errors import BadInput
from graphs.staging import remove_leftovers, staged, staged_file


@pytest.fixture
def dead() -> int:
    """The number of a process that is no more."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    return process.pid


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_that_fails_leaves_the_old_one(tmp_path: Path) -> None:
    with staged(tmp_path / "engine") as first:
        (first / "plan").write_text("old")
    with pytest.raises(KeyboardInterrupt), staged(tmp_path / "engine") as second:
        (second / "plan").write_text("new, in part")
        raise KeyboardInterrupt
    assert (tmp_path / "engine" / "plan").read_text() == "old" and names(tmp_path) == ["engine"]


def test_a_folder_replaces_the_old_one_whole(tmp_path: Path) -> None:
    (tmp_path / "engine").mkdir()
    (tmp_path / "engine" / "stale").touch()
    with staged(tmp_path / "engine") as staging:
        (staging / "plan").touch()
    assert names(tmp_path / "engine") == ["plan"] and names(tmp_path) == ["engine"]


def test_what_a_killed_process_had_set_aside_is_put_back(tmp_path: Path, dead: int) -> None:
    """Killed between the two renames: the engine is neither at its place nor replaced."""
    (tmp_path / f".engine.{dead}.old").mkdir()
    (tmp_path / f".engine.{dead}.old" / "plan").write_text("the only copy")
    (tmp_path / f".engine.{dead}.partial").mkdir()
    with pytest.raises(RuntimeError), staged(tmp_path / "engine"):
        raise RuntimeError
    assert (tmp_path / "engine" / "plan").read_text() == "the only copy" and names(tmp_path) == ["engine"]


def test_what_is_under_way_is_left_alone(tmp_path: Path, dead: int) -> None:
    with staged(tmp_path / "a") as growing:
        (tmp_path / f".b.{dead}.partial").mkdir()
        remove_leftovers(tmp_path)
        assert growing.is_dir() and names(tmp_path) == [growing.name]


def test_a_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), staged_file(tmp_path / "report.json") as partial:
        partial.write_text("half")
        raise RuntimeError
    assert names(tmp_path) == []
    with staged_file(tmp_path / "report.json") as partial:
        partial.write_text("whole")
        assert not (tmp_path / "report.json").exists()
    assert names(tmp_path) == ["report.json"]


def test_a_file_where_the_folder_should_be_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "engine").touch()
    with pytest.raises(BadInput, match="is a file"), staged(tmp_path / "engine"):
        pass
