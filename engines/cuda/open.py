"""Choosing a CUDA runtime by name; the library behind it is imported only then."""

from __future__ import annotations

from engines.cuda.runtime import RUNTIME_NAMES, CudaRuntime
from engines.errors import BadInput


def open_runtime(name: str = "cuda-python", device: int = 0) -> CudaRuntime:
    """The CUDA runtime ``name`` on GPU ``device``.

    Raises ``EngineError`` that says what is missing (package, driver, GPU) and how to get it, ``BadInput`` for a name
    that is neither ``cuda-python`` nor ``pycuda``.
    """
    if name == "cuda-python":
        from engines.cuda.cuda_python import CudaPythonRuntime

        return CudaPythonRuntime(device)
    if name == "pycuda":
        from engines.cuda.pycuda_runtime import PyCudaRuntime

        return PyCudaRuntime(device)
    raise BadInput(f"unknown CUDA runtime {name!r}", where="--cuda-runtime", expected=" or ".join(RUNTIME_NAMES))
