"""Memory one engine needs, seen from a process of its own: ``python -m benchmarks.memory ENGINE_FOLDER SAMPLE.npz``.

Host memory is the resident size after the first inferences less that before the engine was opened, libraries loaded;
device memory what NVML says the GPU has less afterwards.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.samples.files import read_npz, write_npz
from engines.engine import Feed
from engines.errors import EngineError
from engines.processes.child_process import run_child
from engines.source import open_source
from engines.targets.gpus_here import used_gpu
from engines.targets.nvml import opened

RUNS = 3
"""Inferences before memory is read: buffers are allocated by the first, and reused from the second. Chosen."""
LIMIT_S = 300.0
"""Seconds after which the measurement is given up. Chosen."""


@dataclass(frozen=True)
class EngineMemory:
    """Bytes one engine adds to a process, and to the GPU (None without one)."""

    host_bytes: int
    device_bytes: int | None


def engine_memory(source: str, feed: Feed) -> EngineMemory:
    """Open ``source`` (an engine folder, or ``file.py:function``) in a child and run it on ``feed``.

    ``feed`` must be a real sample: made-up values may be none the graph can run (a shape, an index, a length). Raises
    ``EngineError`` when the child cannot.
    """
    with tempfile.TemporaryDirectory(prefix="enginewright-memory-") as folder:
        path = Path(folder) / "sample.npz"
        write_npz(path, feed)
        return _in_child(source, path)


def _in_child(source: str, sample: Path) -> EngineMemory:
    try:
        done = run_child("benchmarks.memory", source, str(sample), limit_s=LIMIT_S)
    except TimeoutError:
        raise EngineError(f"did not run within {LIMIT_S:.0f} s", where=source) from None
    if done.code != 0:
        raise EngineError(f"its memory cannot be measured: {done.last_words}", where=source)
    return EngineMemory(**json.loads(done.output.strip().splitlines()[-1]))


def _measure(source: str, sample: Path) -> EngineMemory:
    import onnxruntime  # noqa: F401  # its own size is not the engine's

    host, device = _resident(), _device_used()
    with open_source(source) as engine:
        feed = read_npz(sample, engine.inputs)
        for _ in range(RUNS):
            engine.infer(feed)
        used = _device_used()
        return EngineMemory(
            max(_resident() - host, 0), None if used is None or device is None else max(used - device, 0)
        )


def _resident() -> int:
    """Resident bytes of this process now (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _device_used() -> int | None:
    """Bytes in use on the GPU that runs our engines; None without one."""
    gpu = used_gpu()
    with opened() as nvml:
        return nvml.used_bytes(nvml.device(gpu.index)) if nvml is not None and gpu is not None else None


def main(arguments: Sequence[str]) -> None:
    found = _measure(arguments[0], Path(arguments[1]))
    sys.stdout.write(json.dumps(found.__dict__) + "\n")
    sys.stdout.flush()
    os._exit(0)  # destructors of GPU libraries are no part of the measurement


if __name__ == "__main__":
    main(sys.argv[1:])
