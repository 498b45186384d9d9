"""Choosing a CUDA runtime by name; the library behind it is imported only then."""

from __future__ import annotations

import os

from engines.cuda.runtime import RUNTIME_NAMES, CudaRuntime
from graphs.errors import BadInput

VARIABLE = "ENGINEWRIGHT_CUDA_RUNTIME"
"""Environment variable with the runtime that engines use where none is named; child processes inherit it."""


def default_runtime() -> str:
    """``$ENGINEWRIGHT_CUDA_RUNTIME``, else cuda-python."""
    return os.environ.get(VARIABLE) or RUNTIME_NAMES[0]


def check_runtime_name(name: str) -> str:
    """``name``, or ``BadInput`` for one that is neither ``cuda-python`` nor ``pycuda``."""
    if name not in RUNTIME_NAMES:
        raise BadInput(f"unknown CUDA runtime {name!r}", where="--cuda-runtime", expected=" or ".join(RUNTIME_NAMES))
    return name


def open_runtime(name: str | None = None, device: int = 0) -> CudaRuntime:
    """The CUDA runtime ``name`` (``default_runtime`` when not given) on GPU ``device``.

    Raises ``EngineError`` that says what is missing (package, driver, GPU) and how to get it, ``BadInput`` for a name
    that is neither ``cuda-python`` nor ``pycuda``.
    """
    if check_runtime_name(name or default_runtime()) == "cuda-python":
        from engines.cuda.cuda_python import CudaPythonRuntime

        return CudaPythonRuntime(device)
    from engines.cuda.pycuda_runtime import PyCudaRuntime

    return PyCudaRuntime(device)
