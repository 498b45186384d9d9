"""What was found out about a file, told again while the file is the same: a large model is hashed and searched once."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
_SETTLED_S = 0.1
"""Seconds for which a file must have been left alone before anything is remembered of it: a second change that soon may
get the same time stamp, for kernels count them in ticks of up to 10 ms. Git calls such files racily clean.
"""
_LARGE = 1 << 20
"""Bytes from which on that is worth it. Chosen: a MiB is hashed in a millisecond."""
_MOST = 1024
"""Files remembered; the oldest are forgotten. Chosen: a job hashes some fifty."""


def per_file(find: Callable[[Path], T]) -> Callable[[Path], T]:
    """``find``, which reads a file and answers by its content alone, asked once for each state of the file.

    A file is the same while device, inode, size and both times of change are. Not remembered: small files, those that
    have just been written, and those of file systems that keep whole seconds.
    """
    known: dict[tuple[int, ...], T] = {}

    @wraps(find)
    def found(path: Path) -> T:
        state = _state(path)
        if state is not None and state in known:
            return known[state]
        result = find(path)
        if state is not None and state == _state(path):
            known[state] = result
            while len(known) > _MOST:
                known.pop(next(iter(known)), None)
        return result

    return found


def _state(path: Path) -> tuple[int, ...] | None:
    """What changes with the file; None where a change might leave it as it is."""
    try:
        stat = path.stat()
    except OSError:  # whoever reads it says so
        return None
    changed = max(stat.st_mtime_ns, stat.st_ctime_ns)
    whole_seconds = stat.st_mtime_ns % 10**9 == 0 and stat.st_ctime_ns % 10**9 == 0
    if stat.st_size < _LARGE or whole_seconds or time.time_ns() - changed < _SETTLED_S * 1e9:
        return None
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns
