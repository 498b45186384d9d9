"""What a check needs that is not here, said before anything is built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import metadata, util

from engines.onnxruntime.provider import available
from engines.tensorrt.library import installed

INSTALL = {
    "tensorrt": "pip install 'enginewright[tensorrt]'",
    "TensorRT-RTX": "pip install 'enginewright[rtx]'",
    "onnxruntime-gpu": "pip install onnxruntime-gpu",
    "cuda-python": "pip install cuda-python",
}


def present() -> dict[str, bool]:
    """Which of the ways to run a model on a GPU are installed; ``cuda-python`` is what plans are run with."""
    return {
        "tensorrt": installed("tensorrt"),
        "TensorRT-RTX": installed("tensorrt_rtx"),
        "onnxruntime-gpu": available(),
        "cuda-python": _importable("cuda.bindings"),
    }


def nothing_runs(found: Mapping[str, bool]) -> str:
    """Why nothing here could run a model on a GPU; empty where something can."""
    if found["onnxruntime-gpu"]:
        return ""
    if not found["tensorrt"] and not found["TensorRT-RTX"]:
        ways = ", or ".join(INSTALL[name] for name in ("tensorrt", "TensorRT-RTX", "onnxruntime-gpu"))
        return f"none of tensorrt, TensorRT-RTX and onnxruntime-gpu is installed: {ways}"
    return "" if found["cuda-python"] else f"cuda-python is not installed: {INSTALL['cuda-python']}"


def no_gpu(found: Mapping[str, bool]) -> str:
    """One line for a machine without a GPU: what is missing and what is there."""
    here = ", ".join(name for name, there in found.items() if there) or "none of the libraries"
    absent = ", ".join(name for name, there in found.items() if not there)
    why = "the NVIDIA driver is missing or lists none" if _has_nvml() else "nvidia-ml-py is not installed"
    text = f"no NVIDIA GPU was found here ({why}); run it where `nvidia-smi` lists one. Installed here: {here}"
    return f"{text}; not installed: {absent}" if absent else text


def _has_nvml() -> bool:
    return _importable("pynvml")


def _importable(name: str) -> bool:
    try:
        return util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def versions(packages: Sequence[str]) -> dict[str, str]:
    """The versions of those packages that are installed."""
    found = {}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
