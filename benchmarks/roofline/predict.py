"""Time per kernel and per model on a GPU that is not here: the roofline of Williams et al. (CACM 52, 2009) with
efficiencies.

A kernel takes the longer of its arithmetic and its memory traffic, plus a fixed overhead:

    time(batch) = overhead / clock rate + max(operations / (peak x compute x clock), bytes / (bandwidth x memory))

``clock`` is what the GPU sustains under a tensor load within its power limit, (base / rated) ** ``throttle``: boards
with a tight limit, such as T4, cannot hold the clock that their peak is stated for. Arithmetic is counted as tensor
cores do it: channels padded to their granularity, and whole waves of 64 x 64 tiles over all multiprocessors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.roofline.kernels import Kernel, Product
from engines.targets.boards import GPUS, SPARSE_TENSOR_CORES, GpuRates

OFFLINE_BATCH = 128
"""Batch that throughput is predicted at; chosen, as one that fills every GPU of the table."""
TILE = 64
"""Rows and columns of the output that a multiprocessor is taken to compute at once. Chosen."""
_GRANULARITY = {"int8": 32, "fp8": 32, "fp16": 8, "fp32": 4}
"""Channels are padded to this, by type, as TensorRT's vectorized layouts have it (CHW32 for INT8, HWC8 for FP16)."""
_SPARSE_RATE = 2.0
"""Peak of sparse tensor cores beside dense ones (NVIDIA A100 Tensor Core GPU architecture white paper); no kernel
reaches it, so what follows is a bound."""
_BITS = {"int8": 8, "fp8": 8, "fp16": 16, "fp32": 32}
"""Of one operand, by a product's type."""
_FIRST_LAYER_CHANNELS = 4
"""Channels that an image is padded to: first layers have a layout of their own (TensorRT, CHW4)."""


@dataclass(frozen=True)
class Efficiency:
    """The factors, the same for every GPU and model.

    ``compute`` and ``memory`` are shares (0 to 1) of the sustained peak and of the datasheet's bandwidth; ``throttle``
    is the exponent of base clock over rated clock (0 holds the rated clock, 1 falls to the base clock); ``overhead``
    is what a kernel costs in clock cycles however small it is: launch, prologue, epilogue."""

    compute: float
    memory: float
    throttle: float
    overhead: float = 0.0


@dataclass(frozen=True)
class LayerTime:
    """One kernel at one batch size, in microseconds per batch; ``bound`` is compute, memory or overhead."""

    kernel: Kernel
    compute_us: float
    memory_us: float
    overhead_us: float

    @property
    def microseconds(self) -> float:
        return self.overhead_us + max(self.compute_us, self.memory_us)

    @property
    def bound(self) -> str:
        longest = max(self.compute_us, self.memory_us)
        if self.overhead_us > longest:
            return "overhead"
        return "compute" if self.compute_us >= self.memory_us else "memory"


def layer_times(kernels: Sequence[Kernel], gpu: GpuRates, factors: Efficiency, batch: int) -> list[LayerTime]:
    """The time of every kernel for one batch, in the order given."""
    clock = sustained_clock(gpu, factors.throttle)
    overhead_us = factors.overhead / (gpu.rated_mhz * clock)
    return [
        LayerTime(
            kernel,
            sum(operations(p, gpu.sms, batch) / _rate(p, gpu) for p in kernel.products)
            / (factors.compute * clock)
            * 1e6,
            (_weight_bytes(kernel, gpu) + batch * kernel.activation_bytes) / (gpu.bandwidth * factors.memory) / 1e3,
            overhead_us,
        )
        for kernel in kernels
    ]


def latency_ms(times: Sequence[LayerTime]) -> float:
    """Milliseconds of one batch: kernels run one after the other."""
    return sum(time.microseconds for time in times) / 1e3


def samples_per_s(kernels: Sequence[Kernel], gpu: GpuRates, factors: Efficiency, batch: int = OFFLINE_BATCH) -> float:
    """Offline throughput: batches back to back."""
    return batch / latency_ms(layer_times(kernels, gpu, factors, batch)) * 1e3


def bound_of(times: Sequence[LayerTime]) -> str:
    """What bounds most of a model's time."""
    shares: dict[str, float] = {}
    for time in times:
        shares[time.bound] = shares.get(time.bound, 0.0) + time.microseconds
    return max(shares, key=lambda bound: shares[bound], default="memory")


def operations(product: Product, sms: int, batch: int) -> float:
    """Operations (two per MAC) that the units spend on a product, padding and idle multiprocessors included."""
    if product.unit == "vector":
        return 2.0 * product.macs * batch
    grain = _GRANULARITY[product.dtype]
    channels = _padded(product.channels, grain if product.channels > _FIRST_LAYER_CHANNELS else _FIRST_LAYER_CHANNELS)
    padding = channels / product.channels * _padded(product.columns, grain) / product.columns
    tiles = product.groups * math.ceil(product.rows * batch / TILE) * math.ceil(product.columns / TILE)
    waves = math.ceil(tiles / sms) * sms / tiles
    return 2.0 * product.macs * batch * padding * waves


def sustained_clock(gpu: GpuRates, throttle: float) -> float:
    """Share of the rated clock that is held; the table's median ratio stands in where no base clock is published."""
    ratio = _TYPICAL if gpu.base_mhz is None else gpu.base_mhz / gpu.rated_mhz
    return float(ratio**throttle)


_TYPICAL = median(gpu.base_mhz / gpu.rated_mhz for gpu in GPUS.values() if gpu.base_mhz and gpu.watts > 60)
"""Base over rated clock where no base clock is published; boards within 60 W, embedded ones, clock otherwise."""


def _rate(product: Product, gpu: GpuRates) -> float:
    rate = gpu.rate("vector" if product.unit == "vector" else product.dtype)
    return _SPARSE_RATE * rate if product.sparse and gpu.capability >= SPARSE_TENSOR_CORES else rate


def _weight_bytes(kernel: Kernel, gpu: GpuRates) -> float:
    """Of 2:4 weights half the values and two bits for the place of each that is kept (PTX ISA, ``mma.sp``)."""
    if gpu.capability < SPARSE_TENSOR_CORES or not any(product.sparse for product in kernel.products):
        return kernel.weight_bytes
    bits = _BITS[kernel.dtype]
    return kernel.weight_bytes * (bits + 2) / (2 * bits)


def _padded(size: int, grain: int) -> int:
    return math.ceil(size / grain) * grain
