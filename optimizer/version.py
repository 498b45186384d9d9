"""The installed version, and the versions of the libraries a result depends on."""

from __future__ import annotations

from functools import lru_cache
from importlib import metadata
from pathlib import Path

from graphs.digests import digest_of

TOOLS = (
    "numpy",
    "onnx",
    "onnx-ir",
    "onnxscript",
    "onnxruntime",
    "mlcommons-loadgen",
    "tensorrt",
    "tensorrt-rtx-cu13-bindings",
    "cuda-bindings",  # what cuda-python installs, and all that is used of it
    "pycuda",
)


_OURS = ("graphs", "engines", "calibration", "benchmarks", "optimizer")
_SOURCE = frozenset({".py", ".csv", ".json", ".toml"})


def version() -> str:
    """Of the distribution ``enginewright``; ``"0+source"`` when run from a checkout that was not installed."""
    try:
        return metadata.version("enginewright")
    except metadata.PackageNotFoundError:
        return "0+source"


def tool_versions() -> dict[str, str]:
    """Installed libraries of ``TOOLS`` and their versions."""
    return dict(_installed())


@lru_cache(maxsize=1)
def _installed() -> tuple[tuple[str, str], ...]:
    """Read once: every stage's key holds them, and each is a file of headers to parse."""
    found = [("enginewright", version())]
    for name in TOOLS:
        try:
            found.append((name, metadata.version(name)))
        except metadata.PackageNotFoundError:
            continue
    return tuple(found)


@lru_cache(maxsize=1)
def code_digest() -> str:
    """Digest of our own source and tables: what one state of a checkout has made is not taken for another's."""
    root = Path(__file__).parent.parent
    found = (file for package in _OURS for file in sorted((root / package).rglob("*")))
    files = (file for file in found if file.suffix in _SOURCE)
    return digest_of(part for file in files for part in (str(file.relative_to(root)), file.read_bytes()))
