"""The installed version, and the versions of the libraries a result depends on."""

from __future__ import annotations

from importlib import metadata

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
