"""``optimize serve`` as a process of its own, and what the system says of it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from engines.processes.child_process import Child

NAME = "model"
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Process:
    """A process and those it started."""

    pid: int

    def all(self) -> list[int]:
        found, left = [], [self.pid]
        while left:
            pid = left.pop()
            found.append(pid)
            for task in Path(f"/proc/{pid}/task").glob("*/children"):
                left += map(int, task.read_text().split())
        return found

    def cpu_seconds(self) -> float:
        ticks = 0
        for pid in self.all():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / _TICKS

    def peak_mib(self) -> float:
        """The largest resident memory so far of the largest of them."""
        peaks = (re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text()) for pid in self.all())
        return max(int(peak[1]) for peak in peaks if peak) / 1024


@dataclass(frozen=True)
class Ours:
    """Where it listens."""

    http: str
    grpc: str
    process: Process

    def source(self, protocol: str) -> str:
        """As ``engines.source`` opens it."""
        return f"{protocol}://{self.http if protocol == 'http' else self.grpc}/{NAME}"


@contextmanager
def serving(bundle: Path, *options: str) -> Iterator[Ours]:
    """``bundle`` served as ``model`` on free ports of the loopback; ended with the context."""
    words = ("serve", f"{NAME}={bundle}", "--port", "0", "--grpc-port", "0", *options)
    with Child("optimizer.cli.main", *words, stderr=None) as child:
        assert child.process.stdout is not None
        line = child.process.stdout.readline().decode()
        found = re.search(r"http://(\S+) and grpc://(\S+)", line)
        assert found, f"it does not serve: {line}"
        yield Ours(found[1], found[2], Process(child.process.pid))
        child.process.terminate()
        child.process.wait(30)
