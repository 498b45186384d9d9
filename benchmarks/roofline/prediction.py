"""A model's prediction for one GPU, always with the error such predictions had where they could be checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from benchmarks.roofline.kernels import Kernel
from benchmarks.roofline.predict import OFFLINE_BATCH, Efficiency, bound_of, latency_ms, layer_times, samples_per_s
from engines.targets.boards import GpuRates
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


@lru_cache(maxsize=1)
def calibration() -> Calibration:
    return read_json(FACTORS, Calibration)


def predict(kernels: Sequence[Kernel], gpu: GpuRates, batch: int = OFFLINE_BATCH) -> Prediction:
    """The prediction for a whole model; ``kernels`` are those of one sample. ``batch`` is 1 for a model that takes no
    batches: its sample is whatever one feed holds."""
    found = calibration()
    times = layer_times(kernels, gpu, found.factors, batch)
    return Prediction(
        latency_ms=round_to(latency_ms(layer_times(kernels, gpu, found.factors, 1))),
        throughput=round_to(samples_per_s(kernels, gpu, found.factors, batch)),
        bound=bound_of(times),
        error_percent=found.throughput_error_percent,
        how=_how(gpu, found, kernels),
        latency_error_percent=found.latency_error_percent,
        checked=gpu.capability in CHECKED,
        gpu=gpu.title,
        batch=batch,
    )


def round_to(value: float, digits: int = 3) -> float:
    """``digits`` significant ones: a prediction with more would claim what it does not know."""
    return float(f"{value:.{digits}g}")


def _how(gpu: GpuRates, found: Calibration, kernels: Sequence[Kernel]) -> str:
    text = (
        f"predicted by a roofline model for TensorRT on {gpu.title}, not measured; against published T4 and A100 "
        f"results of models it was not fitted on it was off by at most {found.throughput_error_percent:.0f} % "
        f"in throughput and {found.latency_error_percent:.0f} % in latency"
    )
    if gpu.capability not in CHECKED:
        text += "; no result of this GPU generation was among them, so the error may be larger"
    unknown = sum(not kernel.known for kernel in kernels)
    return text + (f"; {unknown} kernels have shapes that depend on the data and count too little" if unknown else "")
