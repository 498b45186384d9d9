"""Whole or not at all, whatever happens in between."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from graphs.errors import BadInput
from graphs.files import write_together
from graphs.staging import in_folder, remove_leftovers, staged, staged_file


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


def test_folders_that_were_made_for_nothing_are_gone_again(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="stop"), in_folder(tmp_path / "a" / "b" / "c"):
        assert (tmp_path / "a" / "b" / "c").is_dir()
        raise RuntimeError("stop")
    assert not any(tmp_path.iterdir())
    (tmp_path / "there").mkdir()
    with pytest.raises(RuntimeError, match="stop"), in_folder(tmp_path / "there"):
        raise RuntimeError("stop")
    with pytest.raises(RuntimeError, match="stop"), in_folder(tmp_path / "a" / "b"):
        (tmp_path / "a" / "kept").touch()
        raise RuntimeError("stop")
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")} == {"there", "a", "a/kept"}
    with pytest.raises(OSError, match="too long"), in_folder(tmp_path / "x" / ("y" * 300)):
        pass
    assert not (tmp_path / "x").exists()


def test_files_are_written_together_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = write_together(tmp_path / "whole", {"a": b"1", "b": b"2"})
    assert [path.read_bytes() for path in whole] == [b"1", b"2"]
    write = Path.write_bytes

    def full(path: Path, content: bytes) -> int:
        if b"2" in content:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    for folder in (tmp_path / "new" / "place", tmp_path / "whole"):
        with pytest.raises(BadInput, match="no space left on the disk"):
            write_together(folder, {"a": b"3", "b": b"2"})
    assert not (tmp_path / "new").exists()
    assert sorted(path.name for path in (tmp_path / "whole").iterdir()) == ["a", "b"] and whole[0].read_bytes() == b"1"
