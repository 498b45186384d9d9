"""CUDA libraries from wheels, for a TensorRT 8 that does not look for them there.

The plugins of ``tensorrt==8.5.3.1`` are linked to cuBLAS 11 and cuDNN 8. Their wheels (``nvidia-cublas-cu11``,
``nvidia-cudnn-cu11``) put them where no loader looks, and that version's ``__init__`` does not either. A library that
is loaded already is found by its name.
"""

from __future__ import annotations

import ctypes
import importlib.util
from pathlib import Path

PACKAGES = ("nvidia.cuda_runtime", "nvidia.cublas", "nvidia.cudnn")
"""Python packages in whose folder ``lib`` the libraries lie, dependencies first."""


def load_cuda_wheels() -> bool:
    """Load what the wheels bring into this process; whether there was anything."""
    waiting = [library for package in PACKAGES for library in _libraries(package)]
    loaded = 0
    while waiting:  # cuDNN's parts need each other in no order that names tell
        left = [library for library in waiting if not _loads(library)]
        if len(left) == len(waiting):
            break
        loaded, waiting = loaded + len(waiting) - len(left), left
    return loaded > 0


def _libraries(package: str) -> list[Path]:
    """What lies in its folder ``lib``; none where it is not installed."""
    try:
        spec = importlib.util.find_spec(package)
    except ModuleNotFoundError:
        spec = None
    places = spec.submodule_search_locations or () if spec is not None else ()
    return [library for place in places for library in sorted(Path(place, "lib").glob("lib*.so.*"))]


def _loads(library: Path) -> bool:
    try:
        ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
    except OSError:
        return False
    return True
