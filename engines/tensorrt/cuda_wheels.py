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
    waiting = [library for package in PACKAGES for library in sorted(_folder(package).glob("lib*.so.*"))]
    loaded = 0
    while waiting:  # cuDNN's parts need each other in no order that names tell
        left = [library for library in waiting if not _loads(library)]
        if len(left) == len(waiting):
            break
        loaded, waiting = loaded + len(waiting) - len(left), left
    return loaded > 0


def _folder(package: str) -> Path:
    try:
        spec = importlib.util.find_spec(package)
    except ModuleNotFoundError:
        spec = None
    places = list(spec.submodule_search_locations or ()) if spec is not None else []
    return Path(places[0]) / "lib" if places else Path("/nonexistent")


def _loads(library: Path) -> bool:
    try:
        ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
    except OSError:
        return False
    return True
