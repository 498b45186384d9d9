"""A command that is ended from outside unwinds: what it started ends with it, if that takes no longer than allowed.

A signal's usual action ends a process on the spot, and leaves servers, workers and folders to whoever finds them.
"""

from __future__ import annotations

import mmap
import signal
import struct
from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that end a command, unless it takes them for something else."""
PATIENCE_S = 5.0
"""Seconds after such a signal in which the work may end by itself; native code that does not look up is then ended.
Chosen: clearing up after builds, LoadGen runs and servers takes under one."""
FOR_EVER = float("inf")
_ENTRY = struct.Struct("d")


class Terminated(KeyboardInterrupt):
    """``number`` came, which is no Ctrl-C: what stops for one stops for the other."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Patience:
    """Seconds after each signal, written by the child that works and read by the parent that passes signals on."""

    def __init__(self) -> None:
        self._page = mmap.mmap(-1, _ENTRY.size * signal.NSIG)

    def grant(self, number: int, seconds: float) -> None:
        """Let the work have ``seconds`` after ``number``; ``FOR_EVER`` where that is no order to end."""
        _ENTRY.pack_into(self._page, _ENTRY.size * number, seconds)

    def after(self, number: int) -> float:
        granted: float = _ENTRY.unpack_from(self._page, _ENTRY.size * number)[0]
        return granted or PATIENCE_S


PATIENCE = Patience()


def heard() -> tuple[signal.Signals, ...]:
    """Those of ``ENDING`` that this process was not started to ignore (``nohup``, a shell's ``&``)."""
    return tuple(number for number in ENDING if signal.getsignal(number) is not signal.SIG_IGN)


def unwind_when_ended() -> None:
    """Have SIGTERM and SIGHUP raise ``Terminated`` in the main thread, the first of them, and Ctrl-C
    ``KeyboardInterrupt``."""

    def unwind(number: int, _: FrameType | None) -> None:
        for each in taken:
            signal.signal(each, signal.SIG_IGN)  # once is enough: a second must not end the clearing up
        raise Terminated(number)

    if signal.SIGINT in heard():
        signal.signal(signal.SIGINT, signal.default_int_handler)
    taken = [number for number in heard() if number is not signal.SIGINT]
    for number in taken:
        signal.signal(number, unwind)


def end_by(number: int) -> None:
    """End this process as ``number`` does where nobody takes it."""
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)
