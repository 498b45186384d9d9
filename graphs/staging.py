"""Whole or not at all: a file or a folder grows beside its place and is renamed when it is complete.

What grows is hidden and named by its process, ``.NAME.PID.partial``: what a killed process left is known, and removed
by the next one that writes there.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from graphs.errors import BadInput

_LEFTOVER = re.compile(r"\.(?P<name>.+)\.(?P<owner>\d+)\.(?P<kind>partial|old)")


@contextmanager
def staged_file(final: Path) -> Iterator[Path]:
    """A path to write to, renamed over ``final`` when the block ends well and removed when it does not: a reader sees
    the old file or the new one, never a part. Raises ``OSError``.
    """
    partial = _beside(final, "partial")
    try:
        yield partial
        partial.replace(final)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


@contextmanager
def in_folder(folder: Path) -> Iterator[None]:
    """``folder`` is there in the block, and those above it; those that were not there before are gone again when the
    block fails and has left nothing in them. For what a command writes alone: a folder that several fill at once must
    stay. Raises ``OSError`` where it cannot be made.
    """
    new = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        with suppress(OSError):  # from the first that holds something on, all are kept
            for each in new:
                if os.path.lexists(each):  # else it could not be made, while those above it were
                    each.rmdir()
        raise


@contextmanager
def staged(final: Path, *, beside: Path | None = None) -> Iterator[Path]:
    """A fresh folder that takes the place of ``final`` when the block ends well and is removed when it does not.

    It grows next to ``final``, or in the folder ``beside`` of the same file system. Leftovers of processes that were
    killed while staging the same folder are removed first; a folder that such a process had set aside is put back.
    Raises ``OSError`` where the place cannot be written to, ``BadInput`` where it is a file, or ``.`` or ``..``.
    """
    if final.name in ("", ".."):
        raise BadInput("cannot be exchanged for another", where=str(final), expected="the name of a folder")
    if final.exists() and not final.is_dir():
        raise BadInput("is a file", where=str(final), expected="a folder, or a place for one")
    final.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(final.parent, final.name)
    place = final
    if beside is not None:  # folders of one name from several places may grow there at once
        place = beside / f"{final.resolve().parent.name}.{final.name}"
        remove_leftovers(beside, place.name)
    staging = _beside(place, "partial")
    staging.mkdir()
    try:
        yield staging
        replace_folder(staging, final, _beside(final, "old"))
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def refuse_foreign(final: Path, mark: str) -> None:
    """Raises ``BadInput`` where ``final`` is a folder with something in it that we did not write: one without the file
    ``mark``, which every folder of its kind has. ``staged`` would put another in its place.
    """
    if final.is_dir() and any(final.iterdir()) and not (final / mark).is_file():
        raise BadInput(
            "is a folder with other files in it",
            where=str(final),
            expected=f"a new folder, an empty one, or one with {mark} to be written again",
            fix="choose another with -o",
        )


def replace_folder(new: Path, final: Path, old: Path) -> None:
    """Put the folder ``new`` in the place of ``final``, which lies at ``old`` for a moment: no folder can be renamed
    over one that is not empty. ``restore`` puts it back should this process die there.
    """
    if final.exists():
        shutil.rmtree(old, ignore_errors=True)
        final.rename(old)
    new.rename(final)
    shutil.rmtree(old, ignore_errors=True)


def restore(final: Path, old: Path) -> None:
    """Undo a ``replace_folder`` that was cut off between its two renames."""
    if old.exists() and not final.exists():
        old.rename(final)


def remove_leftovers(folder: Path, name: str | None = None) -> None:
    """Remove what dead processes, and earlier calls of this one, left of ``name`` in ``folder``; without a name, what
    dead processes left of any. What is under way is left alone.
    """
    for path in list(folder.iterdir()) if folder.is_dir() else ():
        match = _LEFTOVER.fullmatch(path.name)
        if match is None or (name is not None and match["name"] != name):
            continue
        earlier_call = name is not None and int(match["owner"]) == os.getpid()
        if not earlier_call and _alive(int(match["owner"])):
            continue
        if match["kind"] == "old":
            restore(folder / match["name"], path)
        _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _beside(final: Path, kind: str) -> Path:
    return final.with_name(f".{final.name}.{os.getpid()}.{kind}")


def _alive(process: int) -> bool:
    """Whether a process of this number exists."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
