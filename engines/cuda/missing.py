"""Why a CUDA runtime cannot be opened here: one clear error per thing that can be missing."""

from __future__ import annotations

from engines.errors import EngineError

ELSEWHERE = "or run this on a machine with an NVIDIA GPU"


def package_missing(package: str, install: str, error: BaseException) -> EngineError:
    """The Python package is not there, or is there and cannot be imported."""
    if isinstance(error, ModuleNotFoundError):
        return EngineError(f"{package} is not installed", where="CUDA runtime", fix=install)
    return EngineError(f"{package} is installed but cannot be imported: {error}", where="CUDA runtime", fix=install)


def driver_missing(package: str) -> EngineError:
    return EngineError(
        "no NVIDIA driver was found (libcuda cannot be loaded)",
        where=f"CUDA runtime {package}",
        expected="`nvidia-smi` lists a GPU",
        fix=f"install the NVIDIA driver (in a container: start it with --gpus all), {ELSEWHERE}",
    )


def driver_too_old(package: str, driver: str, needed: str) -> EngineError:
    return EngineError(
        f"the NVIDIA driver supports CUDA {driver}, and {package} was built for CUDA {needed}",
        where=f"CUDA runtime {package}",
        fix=f"update the NVIDIA driver, or install the cuda-python release of your driver's CUDA {driver}",
    )


def no_device(package: str) -> EngineError:
    return EngineError(
        "the NVIDIA driver sees no GPU",
        where=f"CUDA runtime {package}",
        expected="`nvidia-smi` lists a GPU",
        fix=f"check CUDA_VISIBLE_DEVICES and, in a container, --gpus all; {ELSEWHERE}",
    )


def no_such_device(index: int, count: int) -> EngineError:
    return EngineError(f"there is no GPU {index}", where="CUDA device", expected=f"0 to {count - 1}")


def no_graphs(package: str) -> EngineError:
    return EngineError(
        f"{package} has no CUDA graphs",
        where=f"CUDA runtime {package}",
        fix="use --cuda-runtime cuda-python, or run without CUDA graphs",
    )
