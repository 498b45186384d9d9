"""What is remembered of a file: nothing once it has changed, however it was changed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from graphs import per_file as remembering
from graphs.digests import sha256, sha256_file
from graphs.per_file import per_file

LARGE = 1 << 20


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if every file had been written a while ago."""
    monkeypatch.setattr(remembering, "_SETTLED_S", -1.0)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "weights"
    path.write_bytes(bytes(LARGE))
    return path


@pytest.fixture
def read() -> tuple[Callable[[Path], bytes], list[Path]]:
    """Something that is found out about a file, and the files it looked into."""
    asked: list[Path] = []

    def first(path: Path) -> bytes:
        asked.append(path)
        return path.read_bytes()[:1]

    return per_file(first), asked


def in_place(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"\1")


def another_in_its_place(path: Path) -> None:
    path.with_name("new").write_bytes(b"\1" + bytes(LARGE - 1))
    path.with_name("new").replace(path)


def with_its_old_time(path: Path) -> None:
    before = path.stat()
    time.sleep(0.02)  # the kernel's ticks
    in_place(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("change", [in_place, another_in_its_place, with_its_old_time])
def test_a_file_is_read_once_and_again_when_it_changed(
    file: Path, read: tuple[Callable[[Path], bytes], list[Path]], change: Callable[[Path], None]
) -> None:
    first, asked = read
    assert (first(file), first(file), len(asked)) == (b"\0", b"\0", 1)
    time.sleep(0.02)
    change(file)
    assert (first(file), first(file), len(asked)) == (b"\1", b"\1", 2)


def test_of_one_that_was_just_written_nothing_is_remembered(
    file: Path, read: tuple[Callable[[Path], bytes], list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remembering, "_SETTLED_S", 3600.0)
    first, asked = read
    first(file), first(file)
    assert len(asked) == 2


@pytest.mark.usefixtures("settled")
def test_small_files_and_missing_ones_are_looked_at_each_time(
    tmp_path: Path, read: tuple[Callable[[Path], bytes], list[Path]]
) -> None:
    first, asked = read
    (tmp_path / "small").write_bytes(b"\0")
    first(tmp_path / "small"), first(tmp_path / "small")
    assert len(asked) == 2
    with pytest.raises(FileNotFoundError):
        first(tmp_path / "none")


@pytest.mark.usefixtures("settled")
def test_the_digest_of_a_changed_file_is_another(file: Path) -> None:
    assert sha256_file(file) == sha256_file(file) == sha256(bytes(LARGE))
    time.sleep(0.02)
    in_place(file)
    assert sha256_file(file) == sha256(b"\1" + bytes(LARGE - 1))
