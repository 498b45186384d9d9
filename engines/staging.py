"""A folder that appears complete or not at all."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from graphs.errors import BadInput
from graphs.files import alive


@contextmanager
def staged(final: Path) -> Iterator[Path]:
    """A fresh folder next to ``final``, renamed over it when the block ends well and removed when it does not.

    Leftovers of processes that were killed while staging the same folder are removed first. Raises ``BadInput`` when
    the place cannot be written to.
    """
    if final.exists() and not final.is_dir():
        raise BadInput("is a file", where=str(final), expected="a folder, or a place for one")
    staging = final.with_name(f".{final.name}.{os.getpid()}.partial")
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(final)
        staging.mkdir()
    except OSError as error:
        raise BadInput(
            f"cannot be created: {error.strerror}", where=str(final), fix="choose a folder you can write to"
        ) from error
    try:
        yield staging
        _replace(staging, final)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _replace(staging: Path, final: Path) -> None:
    old = final.with_name(f".{final.name}.{os.getpid()}.old")
    if final.exists():
        final.rename(old)  # a folder cannot be renamed over one that is not empty
    staging.rename(final)
    shutil.rmtree(old, ignore_errors=True)


def _remove_leftovers(final: Path) -> None:
    pattern = re.compile(rf"\.{re.escape(final.name)}\.(\d+)\.(partial|old)")
    for path in final.parent.iterdir():
        match = pattern.fullmatch(path.name)
        if match and (int(match[1]) == os.getpid() or not alive(int(match[1]))):
            shutil.rmtree(path, ignore_errors=True)
