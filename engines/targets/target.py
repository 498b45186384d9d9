"""Targets: the places an engine is built for, and what each can do.

Sources: NVIDIA CUDA programming guide (compute capabilities), TensorRT support matrix (precisions per compute
capability), TensorRT-RTX CPU-only AOT page (which targets it builds for without a GPU).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from graphs.errors import BadInput


class Backend(str, Enum):
    """Who runs the graph."""

    ONNXRUNTIME = "onnxruntime"
    TENSORRT = "tensorrt"


@dataclass(frozen=True)
class Target:
    """A place an engine is built for.

    ``compute_capability`` is (major, minor) of the GPU, None for the CPU. ``rtx`` tells whether TensorRT-RTX builds
    plans for it ahead of time with no GPU. ``float32_gemm`` is False where FP32 matrix products are refused
    (TensorRT-RTX on SM75), so FP16 is the high precision there.
    """

    name: str
    title: str
    backend: Backend
    compute_capability: tuple[int, int] | None = None
    rtx: bool = False
    float32_gemm: bool = True
    bfloat16: bool = False
    float8: bool = False
    sparse_tensor_cores: bool = False

    @property
    def sm(self) -> str:
        """``"SM80"``; empty for the CPU."""
        return "SM{}{}".format(*self.compute_capability) if self.compute_capability else ""


def _gpu(name: str, title: str, capability: tuple[int, int], *, rtx: bool) -> Target:
    return Target(
        name,
        title,
        Backend.TENSORRT,
        capability,
        rtx=rtx,
        float32_gemm=capability >= (8, 0),
        bfloat16=capability >= (8, 0),
        float8=capability >= (8, 9),
        sparse_tensor_cores=capability >= (8, 0),
    )


CPU = Target("cpu", "this machine's CPU", Backend.ONNXRUNTIME)
TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        CPU,
        _gpu("t4", "NVIDIA T4 (Turing)", (7, 5), rtx=True),
        _gpu("a100", "NVIDIA A100 (Ampere)", (8, 0), rtx=True),
        _gpu("a10", "NVIDIA A10 (Ampere)", (8, 6), rtx=True),
        _gpu("l4", "NVIDIA L4 (Ada)", (8, 9), rtx=True),
        _gpu("h100", "NVIDIA H100 (Hopper)", (9, 0), rtx=False),
        _gpu("h200", "NVIDIA H200 (Hopper)", (9, 0), rtx=False),
        _gpu("b200", "NVIDIA B200 (Blackwell)", (10, 0), rtx=False),
        _gpu("blackwell", "NVIDIA RTX Blackwell", (12, 0), rtx=True),
        # Boards of the same compute capabilities by name; the first of each above stays what an unknown board gets.
        _gpu("a30", "NVIDIA A30 (Ampere)", (8, 0), rtx=True),
        _gpu("a6000", "NVIDIA RTX A6000 (Ampere)", (8, 6), rtx=True),
        _gpu("rtx3090", "NVIDIA GeForce RTX 3090 (Ampere)", (8, 6), rtx=True),
        _gpu("orin", "NVIDIA Jetson Orin (Ampere)", (8, 7), rtx=False),
        _gpu("l40s", "NVIDIA L40S (Ada)", (8, 9), rtx=True),
        _gpu("rtx4090", "NVIDIA GeForce RTX 4090 (Ada)", (8, 9), rtx=True),
        _gpu("rtx5090", "NVIDIA GeForce RTX 5090 (Blackwell)", (12, 0), rtx=True),
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
