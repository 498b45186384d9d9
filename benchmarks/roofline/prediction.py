"""A model's prediction for one GPU, always with the error such predictions had where they could be checked."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from benchmarks.roofline.kernels import Kernel
from benchmarks.roofline.predict import OFFLINE_BATCH, Efficiency, bound_of, latency_ms, layer_times, samples_per_s
from engines.targets.boards import SPARSE_TENSOR_CORES, GpuRates
from graphs.files import read_json

FACTORS = Path(__file__).parent / "factors.json"
CHECKED = {(7, 5), (8, 0), (8, 6)}
"""Compute capabilities of the GPUs whose published results predictions were compared with: T4, A100 and A30, A10."""


@dataclass(frozen=True)
class Calibration:
    """Written by ``python -m studies.roofline.calibrate``: the factors fitted on all models, and the largest
    absolute leave-one-out errors in percent on T4 and A100."""

    factors: Efficiency
    throughput_error_percent: float
    latency_error_percent: float


@dataclass(frozen=True)
class Prediction:
    """Not measured: what a roofline model expects. ``latency_ms`` is one batch of 1, ``throughput`` samples per second
    at ``batch``; ``bound`` is what limits most of the time at that batch.

    ``error_percent`` (throughput) and ``latency_error_percent`` are the largest errors of such predictions against
    published results, for models the factors were not fitted on; ``checked`` is False for a GPU generation that none of
    these results came from, where the error may be larger. ``how`` says all that in a sentence.

    ``latency_ms`` and ``throughput`` are of dense kernels. ``sparse_speedup`` is what that throughput could be
    multiplied by at most if every product with a 2:4 weight ran at the full rate of sparse tensor cores: a bound.
    None where no weight is 2:4 or the GPU has no such cores.
    """

    latency_ms: float
    throughput: float
    bound: str
    error_percent: float
    how: str
    latency_error_percent: float
    checked: bool
    gpu: str
    batch: int = OFFLINE_BATCH
    sparse_speedup: float | None = None


@lru_cache(maxsize=1)
def calibration() -> Calibration:
    return read_json(FACTORS, Calibration)


def predict(
    kernels: Sequence[Kernel], gpu: GpuRates, batch: int = OFFLINE_BATCH, sparse: Collection[str] = ()
) -> Prediction:
    """The prediction for a whole model; ``kernels`` are those of one sample. ``batch`` is 1 for a model that takes no
    batches: its sample is whatever one feed holds. ``sparse`` names the nodes whose weights are 2:4."""
    found = calibration()
    times = layer_times(kernels, gpu, found.factors, batch)
    gain = _sparse_speedup(kernels, gpu, batch, sparse)
    return Prediction(
        latency_ms=round_to(latency_ms(layer_times(kernels, gpu, found.factors, 1))),
        throughput=round_to(samples_per_s(kernels, gpu, found.factors, batch)),
        bound=bound_of(times),
        error_percent=found.throughput_error_percent,
        how=_how(gpu, found, kernels, gain),
        latency_error_percent=found.latency_error_percent,
        checked=gpu.capability in CHECKED,
        gpu=gpu.title,
        batch=batch,
        sparse_speedup=gain,
    )


def _sparse_speedup(kernels: Sequence[Kernel], gpu: GpuRates, batch: int, sparse: Collection[str]) -> float | None:
    if gpu.capability < SPARSE_TENSOR_CORES or not any(p.node in sparse for kernel in kernels for p in kernel.products):
        return None
    pruned = [
        replace(kernel, products=tuple(replace(p, sparse=p.node in sparse) for p in kernel.products))
        for kernel in kernels
    ]
    factors = calibration().factors
    return round_to(samples_per_s(pruned, gpu, factors, batch) / samples_per_s(kernels, gpu, factors, batch))


def round_to(value: float, digits: int = 3) -> float:
    """``digits`` significant ones: a prediction with more would claim what it does not know."""
    return float(f"{value:.{digits}g}")


def _how(gpu: GpuRates, found: Calibration, kernels: Sequence[Kernel], gain: float | None) -> str:
    text = (
        f"predicted by a roofline model for TensorRT on {gpu.title}, not measured; against published T4 and A100 "
        f"results of models it was not fitted on it was off by at most {found.throughput_error_percent:.0f} % "
        f"in throughput and {found.latency_error_percent:.0f} % in latency"
    )
    if gpu.capability not in CHECKED:
        text += "; no result of this GPU generation was among them, so the error may be larger"
    if gain is not None:
        text += f"; 2:4 weights could make that at most {gain:.3g} times as fast, all sparse kernels at their peak"
    unknown = sum(not kernel.known for kernel in kernels)
    return text + (f"; {unknown} kernels have shapes that depend on the data and count too little" if unknown else "")
