"""This machine: its processor as reports name it, and what tells it from others."""

from __future__ import annotations

import platform
from pathlib import Path

from engines.parallel import available_cores


def this_machine() -> str:
    """What a time measured here holds for: the processor, the cores that may be used, and the host's name, for a cache
    may lie where several machines reach it.
    """
    return f"{cpu_name()}, {available_cores()} cores, {platform.node()}"


def cpu_name() -> str:
    """Model name and the instruction sets that make INT8 fast, as the kernel names them."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    values = {key.strip(): value.strip() for key, value in fields.items()}
    fast = [flag for flag in ("avx2", "avx512_vnni", "avx_vnni", "amx_int8") if flag in values.get("flags", "").split()]
    return f"{values.get('model name', platform.machine())} ({', '.join(fast) or 'no int8 instructions'})"
