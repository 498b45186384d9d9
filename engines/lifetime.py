"""Ends of processes: a child that must not outlive its parent, and processes that the kernel ended."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
_VMSTAT = Path("/proc/vmstat")


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when ``parent``, its own parent's id, dies, however that happens (Linux)."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the call
        os._exit(1)


def kernel_kills() -> int:
    """How many processes this machine's kernel has ended because memory ran out; 0 where it does not tell."""
    try:
        lines = _VMSTAT.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
