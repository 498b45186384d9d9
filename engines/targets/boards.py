"""Peak rates of NVIDIA GPUs from NVIDIA's own papers, dense (no 2:4 sparsity): ``boards.csv``, each with its source.

Rates are TOPS or TFLOPS at ``rated_mhz``, the clock they are stated for. ``int8``, ``fp8``, ``fp16`` and ``tf32`` are
those of tensor cores, FP16 with FP32 accumulation (GeForce runs that at half rate); ``fp32`` is that of CUDA cores.
Base clocks are not in the datasheets: they come from product briefs and, for SXM boards, from the boards' default
application clock as the TechPowerUp GPU database lists it; None where we found none."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from engines.targets.target import Target
from graphs.errors import BadInput


@dataclass(frozen=True)
class GpuRates:
    """One GPU. ``bandwidth`` in GB/s, ``watts`` the board's limit, ``sms`` streaming multiprocessors; 0 means the GPU
    has no such units (``tf32`` and ``fp8`` before Ampere and Ada)."""

    name: str
    title: str
    capability: tuple[int, int]
    sms: int
    int8: float
    fp8: float
    fp16: float
    tf32: float
    fp32: float
    bandwidth: float
    rated_mhz: int
    base_mhz: int | None
    watts: int
    source: str

    def rate(self, dtype: str) -> float:
        """Operations per second of products of ``dtype``; what the GPU lacks runs in the next wider type it has."""
        chain = {
            "int8": (self.int8, self.fp16),
            "fp8": (self.fp8, self.fp16),
            "fp16": (self.fp16,),
            "fp32": (self.tf32, self.fp32),
            "vector": (self.fp32,),
        }
        return next(rate for rate in chain[dtype] if rate) * 1e12


def _read() -> dict[str, GpuRates]:
    with (Path(__file__).parent / "boards.csv").open(encoding="utf-8", newline="") as file:
        return {row["name"]: _gpu(row) for row in csv.DictReader(file)}


def _gpu(row: dict[str, str]) -> GpuRates:
    major, minor = (int(part) for part in row["sm"].split("."))
    return GpuRates(
        row["name"],
        row["title"],
        (major, minor),
        int(row["sms"]),
        int8=float(row["int8"]),
        fp8=float(row["fp8"]),
        fp16=float(row["fp16"]),
        tf32=float(row["tf32"]),
        fp32=float(row["fp32"]),
        bandwidth=float(row["bandwidth"]),
        rated_mhz=int(row["rated_mhz"]),
        base_mhz=int(row["base_mhz"]) if row["base_mhz"] else None,
        watts=int(row["watts"]),
        source=row["source"],
    )


GPUS: dict[str, GpuRates] = _read()
OF_TARGET = {
    "t4": "t4",
    "a100": "a100-sxm-80gb",
    "a30": "a30",
    "a10": "a10",
    "a6000": "rtx-a6000",
    "rtx3090": "rtx3090",
    "orin": "orin-agx",
    "l4": "l4",
    "l40s": "l40s",
    "rtx4090": "rtx4090",
    "h100": "h100-sxm",
    "h200": "h200-sxm",
    "b200": "b200",
    "blackwell": "rtx5090",
    "rtx5090": "rtx5090",
}
"""The board that stands for a build target; a plan fits all boards of its compute capability, a prediction only one."""


def rates_of(name: str) -> GpuRates:
    """The GPU of a build target (``a100``) or of a board (``a100-pcie-40gb``). Raises ``BadInput`` for any other
    name."""
    key = name.strip().lower()
    found = GPUS.get(OF_TARGET.get(key, key))
    if found is None:
        known = ", ".join(dict.fromkeys([*OF_TARGET, *GPUS]))
        raise BadInput(f"no peak rates are known for {name!r}", where="--target", expected=f"one of {known}")
    return found


def rates_of_board(name: str, capability: tuple[int, int]) -> GpuRates | None:
    """The board that a driver's name says (``"NVIDIA A100-PCIE-40GB"``); of several that fit as well, the one that
    stands for a target. None where no row has that name."""
    words = name.lower().replace("-", " ").split()
    words += [first + second for first, second in pairwise(words)]
    alike = [gpu for gpu in GPUS.values() if gpu.capability == capability]
    fits = {gpu.name: _matches(gpu.name.split("-"), words) for gpu in alike}
    best = max(fits, key=lambda board: (fits[board], board in OF_TARGET.values()), default="")
    return GPUS[best] if fits.get(best) else None


def _matches(parts: list[str], words: list[str]) -> int:
    """How many parts of a board's name begin a word of the driver's; none where the chip itself is another."""
    chip = next((part for part in parts if part != "rtx"), "")
    if chip not in words:
        return 0
    return sum(any(word.startswith(part) for word in words) for part in parts)


def rates_for(target: Target) -> GpuRates | None:
    """The GPU that stands for a target; None for the CPU and for GPUs whose rates are not listed here."""
    return GPUS.get(OF_TARGET.get(target.name, ""))
