"""The installed version, and the versions of the libraries a result depends on."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from importlib import metadata
from pathlib import Path

TOOLS = (
    "numpy",
    "onnx",
    "onnx-ir",
    "onnxscript",
    "onnxruntime",
    "mlcommons-loadgen",
    "tensorrt",
    "tensorrt-rtx-cu13-bindings",
    "cuda-python",
    "pycuda",
)


_OURS = ("graphs", "engines", "calibration", "benchmarks", "optimizer")


def version() -> str:
    """Of the distribution ``enginewright``; ``"0+source"`` when run from a checkout that was not installed."""
    try:
        return metadata.version("enginewright")
    except metadata.PackageNotFoundError:
        return "0+source"


def tool_versions() -> dict[str, str]:
    """Installed libraries of ``TOOLS`` and their versions."""
    found = {"enginewright": version()}
    for name in TOOLS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


@lru_cache(maxsize=1)
def code_digest() -> str:
    """Digest of this program's own source: what one state of a checkout has made is not taken for another's."""
    root, digest = Path(__file__).parent.parent, hashlib.sha256()
    for package in _OURS:
        for file in sorted((root / package).rglob("*.py")):
            digest.update(str(file.relative_to(root)).encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()
