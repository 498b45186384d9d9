"""Fit the efficiency factors to published results, and how far they are off for a model they have not seen.

Least squares of log(predicted / published) on a grid: three factors on Offline results, the overhead per kernel on
SingleStream latencies, in turns until they agree. T4 and A100 weigh the same: four boards of one chip are not four
observations. Leave-one-out: for each model, the factors are fitted on the other three.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from benchmarks.roofline.kernels import Kernel
from benchmarks.roofline.predict import (
    OFFLINE_BATCH,
    Efficiency,
    LayerTime,
    latency_ms,
    layer_times,
    samples_per_s,
    sustained_clock,
)
from engines.targets.boards import GPUS
from studies.roofline.published import WORKLOADS, Published

COMPUTE = np.round(np.arange(0.40, 0.961, 0.02), 2)
MEMORY = np.round(np.arange(0.40, 0.901, 0.02), 2)
"""Bounds from elsewhere: the best GEMMs reach about 95 % of peak at their clock, stream benchmarks 90 % of
bandwidth."""
THROTTLE = np.round(np.arange(0.0, 1.01, 0.05), 2)
OVERHEAD = np.arange(0.0, 20_001.0, 100.0)
FITTED_GPUS = ("t4", "a100-pcie-40gb", "a100-pcie-80gb", "a100-sxm-40gb", "a100-sxm-80gb")
VARIABLE_LENGTH = ("bert-99", "bert-99.9")
"""Their p90 latency belongs to a question longer than the mean one the graph is built for, so it cannot be fitted
to."""

Floats = npt.NDArray[np.float64]
KernelsOf = Mapping[str, Sequence[Kernel]]


@dataclass(frozen=True)
class Comparison:
    """A prediction beside what was published; ``error`` is predicted / published - 1."""

    row: Published
    predicted: float

    @property
    def error(self) -> float:
        return self.predicted / self.row.value - 1


@dataclass(frozen=True)
class HeldOut:
    """One model predicted with factors fitted on all others."""

    model: str
    factors: Efficiency
    comparisons: tuple[Comparison, ...]


def fit(kernels: KernelsOf, rows: Sequence[Published]) -> Efficiency:
    """The factors with the least squared log error on ``rows`` of the fitted GPUs; other GPUs' rows are ignored."""
    offline = [row for row in rows if row.scenario == "offline" and row.gpu in FITTED_GPUS]
    single = [
        row
        for row in rows
        if row.scenario == "singlestream" and row.gpu in FITTED_GPUS and row.benchmark not in VARIABLE_LENGTH
    ]
    factors = Efficiency(compute=1.0, memory=1.0, throttle=0.0)
    for _ in range(4):
        factors = _fit_offline(kernels, offline, factors.overhead)
        factors = replace(factors, overhead=_fit_overhead(kernels, single, factors))
    return factors


def leave_one_out(kernels: KernelsOf, rows: Sequence[Published]) -> list[HeldOut]:
    """Each model predicted on every GPU of ``rows`` from factors fitted without any of its rows."""
    of_model = {load.benchmark: load.model for load in WORKLOADS}
    held = []
    for model in dict.fromkeys(of_model.values()):
        factors = fit(kernels, [row for row in rows if of_model[row.benchmark] != model])
        own = [row for row in rows if of_model[row.benchmark] == model]
        held.append(HeldOut(model, factors, tuple(compare(kernels, own, factors))))
    return held


def compare(kernels: KernelsOf, rows: Iterable[Published], factors: Efficiency) -> list[Comparison]:
    """What the factors predict for each row."""
    return [Comparison(row, _predicted(kernels[row.benchmark], row, factors)) for row in rows]


def _predicted(kernels: Sequence[Kernel], row: Published, factors: Efficiency) -> float:
    gpu = GPUS[row.gpu]
    if row.scenario == "offline":
        return samples_per_s(kernels, gpu, factors)
    return latency_ms(layer_times(kernels, gpu, factors, batch=1))


def _fit_offline(kernels: KernelsOf, rows: Sequence[Published], overhead: float) -> Efficiency:
    best = (np.inf, Efficiency(1.0, 1.0, 0.0))
    ideal = [
        layer_times(kernels[row.benchmark], GPUS[row.gpu], Efficiency(1.0, 1.0, 0.0), OFFLINE_BATCH) for row in rows
    ]
    for throttle in THROTTLE:
        errors = sum(
            _weight(row) * _squares(times, row, float(throttle), overhead)
            for row, times in zip(rows, ideal, strict=True)
        )
        place = np.unravel_index(int(np.argmin(errors)), np.shape(errors))
        error = float(np.asarray(errors)[place])
        if error < best[0]:
            found = Efficiency(float(COMPUTE[place[0]]), float(MEMORY[place[1]]), float(throttle), overhead)
            best = (error, found)
    return best[1]


def _weight(row: Published) -> float:
    chip = GPUS[row.gpu].capability
    return 1 / sum(GPUS[name].capability == chip for name in FITTED_GPUS)


def _squares(ideal: Sequence[LayerTime], row: Published, throttle: float, overhead: float) -> Floats:
    """Squared log error at every (compute, memory) of the grid; ``ideal`` are the times at peak rates."""
    gpu = GPUS[row.gpu]
    clock = sustained_clock(gpu, throttle)
    costs = np.array([(time.compute_us / clock, time.memory_us) for time in ideal])
    alike, counts = np.unique(costs, axis=0, return_counts=True)  # repeated blocks cost the same
    longest = np.maximum(alike[:, 0, None, None] / COMPUTE[:, None], alike[:, 1, None, None] / MEMORY)
    seconds = (np.tensordot(counts, longest, axes=1) + len(ideal) * overhead / (gpu.rated_mhz * clock)) * 1e-6
    squares: Floats = np.log(OFFLINE_BATCH / seconds / row.value) ** 2
    return squares


def _fit_overhead(kernels: KernelsOf, rows: Sequence[Published], factors: Efficiency) -> float:
    errors = np.zeros(len(OVERHEAD))
    for row in rows:
        gpu, loads = GPUS[row.gpu], kernels[row.benchmark]
        bare = latency_ms(layer_times(loads, gpu, replace(factors, overhead=0.0), batch=1))
        per_cycle = len(loads) / (gpu.rated_mhz * sustained_clock(gpu, factors.throttle)) / 1e3
        errors += _weight(row) * np.log((bare + per_cycle * OVERHEAD) / row.value) ** 2
    return float(OVERHEAD[int(np.argmin(errors))])
