"""The CPU engine: INT8 where it is both faster and accurate enough, measured; FP32 otherwise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from benchmarks.batching import repeat_to_batch, sample_count
from benchmarks.energy.counters import counter_for
from benchmarks.energy.measure import Energy, measure_energy
from benchmarks.measurement import Latency, Throughput
from benchmarks.memory import EngineMemory
from benchmarks.timing.latency import measure_latency
from benchmarks.timing.op_times import OpTime, profile_ops
from benchmarks.timing.steady import Steadiness, measure_steady
from engines.batching import batched_names
from engines.engine import Engine, Feed, TensorSpec
from engines.onnxruntime.engine import OnnxRuntimeEngine
from engines.profile import ShapeProfile
from optimizer.attempt import attempt
from optimizer.stages.accuracy_check import AccuracyCheck

LEAST_GAIN = 1.02
"""How many times faster than FP32 the INT8 engine must be to ship; chosen, above what two equal engines differ by in an
interleaved run.
"""
SECONDS = 1.0
"""How long each engine is timed, for latency and for throughput."""
PROFILE_MS, PROFILED_RUNS = 2000.0, 20
"""Milliseconds and runs that the profile per operator takes at most."""
LONGEST_BATCH_MS = 250.0
"""A batch that takes longer is not tried: slow models gain nothing from one and would measure for minutes."""


@dataclass(frozen=True)
class CpuChoice:
    """Which form the CPU engine ships in and what both measured in the same, interleaved run.

    ``form`` is ``"int8"`` or ``"fp32"``; ``speedup`` the throughput of the shipped form over FP32's; ``op_times`` where
    the shipped form spends one inference. ``steadiness`` judges the throughput runs; ``energy`` and ``memory`` are the
    shipped form's. ``notes`` name measurements that failed: their figures are empty.
    """

    form: str
    why: str
    batch: int
    latency: dict[str, Latency]
    throughput: dict[str, Throughput]
    op_times: list[OpTime]
    steadiness: Steadiness | None = None
    energy: Energy | None = None
    memory: EngineMemory | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def speedup(self) -> float | None:
        if self.form not in self.throughput:
            return None
        return self.throughput[self.form].samples_per_s / self.throughput["fp32"].samples_per_s


@dataclass(frozen=True)
class _Timed:
    """Both forms, timed on one sample and on a batch of ``batch`` samples, ``many``."""

    batch: int
    many: Feed
    latency: dict[str, Latency]
    throughput: dict[str, Throughput]
    steadiness: Steadiness | None


def choose_cpu_form(
    forms: Mapping[str, Path],
    check: AccuracyCheck | None,
    feed: Feed,
    specs: Sequence[TensorSpec],
    profile: ShapeProfile,
    asked: str = "auto",
    no_int8: str = "no INT8 form was made",
) -> CpuChoice:
    """Measure FP32 and (where there is one) INT8, interleaved; keep the faster one that is within the budget, or the
    ``asked`` one ("int8", "fp32") in any case. ``no_int8`` says why FP32 is alone where it is. A measurement that fails
    costs its figures, never the job.
    """
    engines = {name: OnnxRuntimeEngine(path) for name, path in forms.items()}
    for engine in engines.values():
        engine.learn(specs)
    untimed = _Timed(1, feed, {}, {}, None)
    try:
        timed, notes = attempt("timing of the CPU engine", lambda: _time(engines, feed, specs, profile), untimed)
        form, why = _decide(forms, timed.throughput, check) if asked not in forms else (asked, f"{asked} was asked for")
        energy, failed = attempt(
            "energy of the CPU engine", lambda: measure_energy(engines[form], timed.many, counter_for(None)), None
        )
    finally:
        for engine in engines.values():
            engine.close()
    no_times: list[OpTime] = []
    profiled = partial(profile_ops, forms[form], feed, runs=_runs(timed, form))
    times, unprofiled = attempt("time per operator", profiled, no_times)
    notes = [*notes, *failed, *unprofiled]
    return CpuChoice(
        form, why or no_int8, timed.batch, timed.latency, timed.throughput, times, timed.steadiness, energy, notes=notes
    )


def _time(engines: Mapping[str, Engine], feed: Feed, specs: Sequence[TensorSpec], profile: ShapeProfile) -> _Timed:
    latency = measure_latency(engines, feed, seconds=SECONDS)
    many = repeat_to_batch(specs, feed, _batch(profile, specs, latency["fp32"])) or feed
    batch = sample_count(specs, many)
    steady = measure_steady(engines, dict.fromkeys(engines, many), seconds=SECONDS, min_runs=5)
    throughput = {name: _rate(found, batch) for name, found in steady.latency.items()}
    return _Timed(batch, many, latency, throughput, steady.steadiness)


def _runs(timed: _Timed, form: str) -> int:
    """As many runs as fit in ``PROFILE_MS``, at most ``PROFILED_RUNS``."""
    return min(max(int(PROFILE_MS / timed.latency[form].p50), 1), PROFILED_RUNS) if form in timed.latency else 1


def _batch(profile: ShapeProfile, specs: Sequence[TensorSpec], fp32: Latency) -> int:
    """The profile's usual batch, or one for a model so slow that a batch would take too long."""
    usual = max((profile.inputs[name].opt[0] for name in batched_names(specs) if name in profile.inputs), default=1)
    return usual if usual * fp32.p50 <= LONGEST_BATCH_MS else 1


def _rate(timed: Latency, batch: int) -> Throughput:
    return Throughput(samples_per_s=1e3 * batch / timed.p50, batch=batch, n=timed.n, cv=timed.cv)


def _decide(
    forms: Mapping[str, Path], throughput: Mapping[str, Throughput], check: AccuracyCheck | None
) -> tuple[str, str]:
    if "int8" not in forms:
        return "fp32", ""
    if check is not None and not check.ok:
        return "fp32", f"INT8 for this CPU is over the accuracy budget: {'; '.join(check.reasons)}"
    if "int8" not in throughput:
        return "fp32", "INT8 could not be timed on this CPU"
    gain = throughput["int8"].samples_per_s / throughput["fp32"].samples_per_s
    if gain < LEAST_GAIN:
        return "fp32", f"INT8 ran at {gain:.2f}x of FP32 on this CPU"
    return "int8", f"INT8 ran at {gain:.2f}x of FP32 on this CPU"
