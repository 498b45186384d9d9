"""Memory one engine needs, seen from a process of its own: ``python -m benchmarks.memory ENGINE_FOLDER``.

Host memory is the resident size after the first inferences less that before the engine was opened, libraries loaded;
device memory what NVML says the GPU has less afterwards.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.loadgen.source import open_source
from engines.child_process import child_command, child_environment
from engines.engine import Engine, Feed, TensorSpec
from engines.errors import EngineError
from engines.manifest import MANIFEST_NAME, EngineManifest

RUNS = 3
LIMIT_S = 300.0


@dataclass(frozen=True)
class EngineMemory:
    """Bytes one engine adds to a process, and to the GPU (None without one)."""

    host_bytes: int
    device_bytes: int | None


def engine_memory(source: str, batch: int = 1) -> EngineMemory:
    """Open ``source`` (an engine folder, or ``file.py:function``) in a child and run it on zeros of ``batch`` samples.

    Raises ``EngineError`` when the child cannot.
    """
    command = child_command("benchmarks.memory", source, str(batch))
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, env=child_environment(), timeout=LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise EngineError(f"did not run within {LIMIT_S:.0f} s", where=source) from None
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise EngineError(f"its memory cannot be measured: {last}", where=source)
    return EngineMemory(**json.loads(done.stdout.strip().splitlines()[-1]))


def _measure(source: str, batch: int) -> EngineMemory:
    import onnxruntime  # noqa: F401  # its own size is not the engine's

    host, device = _resident(), _device_used()
    with open_source(source) as engine:
        _run(engine, batch, _usual_shapes(source))
        used = _device_used()
        return EngineMemory(
            max(_resident() - host, 0), None if used is None or device is None else max(used - device, 0)
        )


def _run(engine: Engine, batch: int, usual: dict[str, tuple[int, ...]]) -> None:
    feed: Feed = {
        spec.name: np.zeros(_sizes(spec, batch, usual.get(spec.name, ())), spec.numpy_dtype()) for spec in engine.inputs
    }
    for _ in range(RUNS):
        engine.infer(feed)


def _usual_shapes(source: str) -> dict[str, tuple[int, ...]]:
    """The profile's usual shapes of an engine folder; empty for a function."""
    manifest = Path(source) / MANIFEST_NAME
    if not manifest.is_file():
        return {}
    return {name: tuple(shapes.opt) for name, shapes in EngineManifest.load(manifest.parent).profile.inputs.items()}


def _sizes(spec: TensorSpec, batch: int, usual: tuple[int, ...]) -> tuple[int, ...]:
    """``spec``'s shape with ``batch`` samples; other open sizes as usual."""
    known = usual if len(usual) == len(spec.shape) else (1,) * len(spec.shape)
    return tuple(
        size if isinstance(size, int) else batch if axis == 0 else known[axis] for axis, size in enumerate(spec.shape)
    )


def _resident() -> int:
    """Resident bytes of this process now (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _device_used() -> int | None:
    import pynvml

    try:
        pynvml.nvmlInit()
        return int(pynvml.nvmlDeviceGetMemoryInfo(pynvml.nvmlDeviceGetHandleByIndex(0)).used)
    except pynvml.NVMLError:  # no driver, no device: there is no device memory to speak of
        return None


def main(arguments: Sequence[str]) -> None:
    found = _measure(arguments[0], int(arguments[1]) if len(arguments) > 1 else 1)
    sys.stdout.write(json.dumps(found.__dict__) + "\n")
    sys.stdout.flush()
    os._exit(0)  # destructors of GPU libraries are no part of the measurement


if __name__ == "__main__":
    main(sys.argv[1:])
