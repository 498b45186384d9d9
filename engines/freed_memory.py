"""Memory that was freed, given back to the system.

glibc keeps what threads free in arenas of their own, of which it returns the top alone, and only once it is large: a
few small objects above it hold hundreds of MB. A job that runs in threads gives it back when a step with large arrays
has ended: some milliseconds, in place of 90 MB and more that stay resident (MobileNetV2).
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache


def give_back_freed() -> None:
    """Nothing where the C library knows no such thing (glibc has ``malloc_trim``, musl and macOS have not)."""
    _trim()(0)


@cache
def _trim() -> Callable[[int], object]:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, TypeError, AttributeError):  # no such function, or (Windows) no library without a name
        return lambda _: 0
