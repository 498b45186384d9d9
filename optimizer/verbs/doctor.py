"""``optimize doctor``: what this machine has, and what follows for building, running and measuring."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from importlib import util

from engines.targets.gpus_here import Gpu, detect_gpus
from engines.targets.target import TARGETS
from engines.tensorrt.library import installed
from optimizer.machine import cpu_name
from optimizer.version import tool_versions


@dataclass(frozen=True)
class Ability:
    """Something the product can do here (or not), with the version that does it or the way to get it."""

    name: str
    available: bool
    detail: str


@dataclass(frozen=True)
class Machine:
    """The result of ``examine``; ``memory_gb`` in 10^9 bytes."""

    cpu: str
    cores: int
    memory_gb: float
    python: str
    gpus: list[Gpu]
    tools: dict[str, str]
    abilities: list[Ability]


def examine() -> Machine:
    """Look, without loading any heavy library."""
    gpus, tools = detect_gpus(), tool_versions()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    cores = len(os.sched_getaffinity(0))
    return Machine(cpu_name(), cores, memory, platform.python_version(), gpus, tools, _abilities(gpus, tools))


def _abilities(gpus: list[Gpu], tools: dict[str, str]) -> list[Ability]:
    rtx = "tensorrt-rtx-cu13-bindings"
    ahead = ", ".join(name for name, target in TARGETS.items() if target.rtx)
    full = "tensorrt" in tools
    return [
        Ability("run and measure INT8/FP32 engines on this CPU", True, f"onnxruntime {tools.get('onnxruntime', '')}"),
        Ability(
            "measure with MLPerf LoadGen",
            "mlcommons-loadgen" in tools,
            f"mlcommons-loadgen {tools.get('mlcommons-loadgen', '')}",
        ),
        Ability(
            f"build plans with no GPU ({ahead})",
            rtx in tools,
            f"TensorRT-RTX {tools[rtx]}" if rtx in tools else "pip install 'enginewright[rtx]'",
        ),
        Ability(
            "build and run TensorRT engines on a GPU here",
            bool(gpus) and full,
            _gpu_detail(gpus, full, tools),
        ),
        Ability(
            "drive a GPU through cuda-python",
            bool(gpus) and "cuda-bindings" in tools,
            _driven(gpus, tools, "cuda-bindings", "pip install 'enginewright[tensorrt]'"),
        ),
        Ability(
            "drive a GPU through pycuda",
            bool(gpus) and "pycuda" in tools,
            _driven(gpus, tools, "pycuda", "pip install 'enginewright[pycuda]' (compiles against a CUDA toolkit)"),
        ),
        Ability(
            "run version-compatible plans with the TensorRT lean runtime",
            bool(gpus) and installed("tensorrt_lean"),
            _gpu_detail(gpus, full, tools) if installed("tensorrt_lean") else "pip install tensorrt-lean",
        ),
        Ability(
            "check Triton configurations against the real protocol",
            util.find_spec("tritonclient") is not None,
            "tritonclient" if util.find_spec("tritonclient") else "pip install 'enginewright[serve]'",
        ),
    ]


def _driven(gpus: list[Gpu], tools: dict[str, str], package: str, install: str) -> str:
    if package not in tools:
        return install
    return f"{package} {tools[package]}" + ("" if gpus else ", and no NVIDIA GPU or no driver")


def _gpu_detail(gpus: list[Gpu], full: bool, tools: dict[str, str]) -> str:
    if not gpus:
        return "no NVIDIA GPU or no driver found; on a GPU machine run the same `optimize` command with --target native"
    names = ", ".join(gpu.name for gpu in gpus)
    return f"{names}; tensorrt {tools['tensorrt']}" if full else f"{names}; pip install 'enginewright[tensorrt]'"
