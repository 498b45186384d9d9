"""Memory that was freed in threads goes back to the system, and nothing fails where there is no such function."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

from engines import freed_memory

SCRIPT = """
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from engines.freed_memory import give_back_freed

def resident():
    return int(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0]) * 1024

def fill():
    blocks = [bytes([1]) * 60_000 for _ in range(2_000)]  # 120 MB, too small each to be mapped on its own
    return blocks[-1:]  # what lies on top keeps all below it

with ThreadPoolExecutor(1) as pool:
    kept = pool.submit(fill).result()
before = resident()
give_back_freed()
print(before, resident())
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="the C library has no malloc_trim")
def test_it_is_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, timeout=60)
    before, after = map(int, done.stdout.split())
    assert before > 100e6 > 60e6 > after


@pytest.mark.parametrize("error", [OSError("none"), TypeError("none"), AttributeError("none")])
def test_nothing_fails_elsewhere(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def missing(_: None) -> None:
        raise error

    freed_memory._trim.cache_clear()
    monkeypatch.setattr(ctypes, "CDLL", missing)
    freed_memory.give_back_freed()
    freed_memory._trim.cache_clear()
