"""What engines are built for where nobody says: the CPU, and the GPU that is here where something builds for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from engines.targets.gpus_here import native_target
from engines.targets.target import CPU, NATIVE
from engines.tensorrt.library import choose_library


def default_targets(
    others: Sequence[str] = (CPU.name,), warn: Callable[[str], None] = lambda _: None
) -> tuple[str, ...]:
    """``others``, and ``native`` where a GPU and a library that builds for it are here. ``warn`` hears of a GPU that is
    left out, and what it lacks.
    """
    native = native_target()
    if native is None:
        return tuple(others)
    builder = choose_library(native, native)
    if builder.name is None:
        warn(f"the GPU here ({native.title}) is left out: {builder.reason}")
        return tuple(others)
    return (*others, NATIVE)
