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

SPARSE_TENSOR_CORES = (8, 0)
"""The first compute capability with them (NVIDIA A100 Tensor Core GPU architecture white paper)."""


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


def words_of(name: str) -> list[str]:
    """The words of a driver's name, and each two as one (``"RTX 4090"`` is ``rtx4090``): a laptop's GPU shares but its
    name with the board, so its words stay apart."""
    words = name.lower().replace("-", " ").split()
    return words if "laptop" in words else words + [first + second for first, second in pairwise(words)]
