"""Targets: the places an engine is built for, and what each can do. With ``boards`` this is the one registry of GPUs: a
target names the board that stands for it, a board says its compute capability and peak rates, and what a compute
capability can do is said here.

Sources: NVIDIA CUDA programming guide (compute capabilities), TensorRT support matrix (precisions per compute
capability), TensorRT-RTX CPU-only AOT page (which targets it builds for without a GPU).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Literal, TypeAlias

from engines.targets.boards import GPUS, SPARSE_TENSOR_CORES, GpuRates
from engines.targets.builders import Builders, builders_of
from graphs.errors import BadInput

RTX_CAPABILITIES = ((7, 5), (8, 0), (8, 6), (8, 9), (12, 0), (12, 1))
"""GPUs that TensorRT-RTX builds plans for ahead of time: its ``ComputeCapability`` in that order (1.7.1)."""

INT8_TENSOR_CORES = (7, 2)
"""The first compute capability with them (TensorRT 8.5.3 support matrix, "Hardware and Precision")."""


class Backend(str, Enum):
    """Who runs the graph."""

    ONNXRUNTIME = "onnxruntime"
    TENSORRT = "tensorrt"


LibraryName: TypeAlias = Literal["tensorrt", "tensorrt_rtx", "tensorrt_lean"]
"""NVIDIA's libraries: the full one, the one that builds ahead of time, and the one that only runs plans."""


@dataclass(frozen=True)
class Target:
    """A place an engine is built for.

    ``compute_capability`` is (major, minor) of the GPU, None for the CPU. ``board`` is the row of ``boards`` that
    stands for it: a plan fits all boards of its compute capability, a prediction only one; empty where none is listed.
    """

    name: str
    title: str
    backend: Backend
    compute_capability: tuple[int, int] | None = None
    board: str = ""

    @property
    def sm(self) -> str:
        """``"SM80"``; empty for the CPU."""
        return "SM{}{}".format(*self.compute_capability) if self.compute_capability else ""

    @property
    def rates(self) -> GpuRates | None:
        """Peak rates; None for the CPU and for a GPU that is not listed."""
        return GPUS.get(self.board)

    @property
    def builders(self) -> Builders:
        """Which releases of full TensorRT build for it."""
        return builders_of(self.compute_capability)

    @property
    def rtx(self) -> bool:
        """Whether TensorRT-RTX builds plans for it ahead of time with no GPU."""
        return self.compute_capability in RTX_CAPABILITIES

    @property
    def int8_tensor_cores(self) -> bool:
        """Whether its tensor cores multiply INT8; without, INT8 is slower than FP16 (V100)."""
        return self.compute_capability is not None and self.compute_capability >= INT8_TENSOR_CORES

    @property
    def sparse_tensor_cores(self) -> bool:
        """Whether its tensor cores skip the zeros of 2:4 sparsity."""
        return self.compute_capability is not None and self.compute_capability >= SPARSE_TENSOR_CORES


def gpu_target(name: str, title: str, capability: tuple[int, int], board: str = "") -> Target:
    """The target of a GPU; what it can do follows from its compute capability."""
    return Target(name, title, Backend.TENSORRT, capability, board)


def _listed(name: str, title: str, board: str) -> Target:
    return gpu_target(name, title, GPUS[board].capability, board)


CPU = Target("cpu", "this machine's CPU", Backend.ONNXRUNTIME)
TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        CPU,
        _listed("t4", "NVIDIA T4 (Turing)", "t4"),
        _listed("a100", "NVIDIA A100 (Ampere)", "a100-sxm-80gb"),
        _listed("a10", "NVIDIA A10 (Ampere)", "a10"),
        _listed("l4", "NVIDIA L4 (Ada)", "l4"),
        _listed("h100", "NVIDIA H100 (Hopper)", "h100-sxm"),
        _listed("h200", "NVIDIA H200 (Hopper)", "h200-sxm"),
        _listed("b200", "NVIDIA B200 (Blackwell)", "b200"),
        _listed("blackwell", "NVIDIA RTX Blackwell", "rtx5090"),
        _listed("a30", "NVIDIA A30 (Ampere)", "a30"),
        _listed("a6000", "NVIDIA RTX A6000 (Ampere)", "rtx-a6000"),
        _listed("rtx3090", "NVIDIA GeForce RTX 3090 (Ampere)", "rtx3090"),
        _listed("orin", "NVIDIA Jetson AGX Orin (Ampere)", "orin-agx"),
        _listed("orin_nx", "NVIDIA Jetson Orin NX (Ampere)", "orin-nx"),
        _listed("orin_nano", "NVIDIA Jetson Orin Nano (Ampere)", "orin-nano"),
        _listed("xavier", "NVIDIA Jetson AGX Xavier (Volta)", "xavier-agx"),
        _listed("xavier_nx", "NVIDIA Jetson Xavier NX (Volta)", "xavier-nx"),
        _listed("v100", "NVIDIA V100 (Volta)", "v100-sxm"),
        _listed("l40s", "NVIDIA L40S (Ada)", "l40s"),
        _listed("rtx4090", "NVIDIA GeForce RTX 4090 (Ada)", "rtx4090"),
        _listed("rtx5090", "NVIDIA GeForce RTX 5090 (Blackwell)", "rtx5090"),
    )
}
NATIVE = "native"


def resolve_targets(names: Sequence[str], native: Target | None = None) -> list[Target]:
    """The targets of ``names`` in order, each once; ``native`` is the GPU of this machine, if any.

    Raises ``BadInput`` for an unknown name, and for ``"native"`` where no GPU was found.
    """
    check_names(names)
    chosen: dict[str, Target] = {}
    for name in names:
        key = name.strip().lower()
        if key == NATIVE:
            if native is None:
                raise BadInput(
                    "no NVIDIA GPU found",
                    where="--target native",
                    fix="name a GPU (--target t4,a100), or run `optimize doctor`",
                )
            chosen[native.name] = native
        else:
            chosen[key] = TARGETS[key]
    return list(chosen.values())


def check_names(names: Sequence[str]) -> None:
    """Raise ``BadInput`` for a name that is neither a target's nor ``"native"``."""
    for name in names:
        if name.strip().lower() not in (*TARGETS, NATIVE):
            known = ", ".join([*TARGETS, NATIVE])
            raise BadInput(f"unknown target {name!r}", where="--target", expected=f"one of {known}")


def rates_of(name: str) -> GpuRates:
    """The peak rates of a target (``a100``) or of a board (``a100-pcie-40gb``). Raises ``BadInput`` for any other
    name."""
    key = name.strip().lower()
    target = TARGETS.get(key)
    found = target.rates if target is not None else GPUS.get(key)
    if found is None:
        known = ", ".join(dict.fromkeys([*(t.name for t in TARGETS.values() if t.board), *GPUS]))
        raise BadInput(f"no peak rates are known for {name!r}", where="--target", expected=f"one of {known}")
    return found
