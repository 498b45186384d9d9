"""The CPU engine: INT8 where it is both faster and accurate enough, measured; FP32 otherwise."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

import onnx_ir as ir

from benchmarks.energy.counters import counter_for
from benchmarks.energy.measure import measure_energy
from benchmarks.measurement import utc_now
from benchmarks.timing.forms import TimedForms, time_forms, untimed
from benchmarks.timing.node_times import times_of_nodes
from benchmarks.timing.op_times import KernelTime, by_operator, profile_kernels
from benchmarks.timing.quantized_costs import QuantizedCosts
from engines.engine import Feed, TensorSpec
from engines.onnxruntime.engine import OnnxRuntimeEngine
from engines.profile import ShapeProfile
from optimizer.attempt import attempt
from optimizer.stages.engines.record import LEAST_GAIN, EngineRecord, choose_form
from optimizer.stages.forms.accuracy_check import AccuracyCheck
from optimizer.stages.forms.typed_forms import CPU_FP32

SECONDS = 0.5
"""How long each engine is timed at most, for latency and for throughput: 17 bursts, of which medians that vary by 5 %,
as much as a timing that is trusted may, give theirs to 3 % (``bursts.KNOWN_WITHIN``)."""
ALONE = 0.5
"""The part of it for an engine beside which there is none to choose: nothing hangs on its figures. Chosen."""
PROFILE_MS, PROFILED_RUNS = 2000.0, 20
"""Milliseconds and runs that the profile per operator takes at most. Chosen."""
PLACE = "this CPU"


def choose_cpu_form(
    forms: Mapping[str, Path],
    check: AccuracyCheck | None,
    feed: Feed,
    specs: Sequence[TensorSpec],
    profile: ShapeProfile,
    asked: str = "auto",
    no_int8: str = "no INT8 form was made",
) -> EngineRecord:
    """Measure FP32 and (where there is one) INT8, interleaved; keep the faster one that is within the budget, or the
    ``asked`` one ("int8", "fp32") in any case. ``forms`` begin with FP32; ``no_int8`` says why it is alone where it is.
    A measurement that fails costs its figures, never the job.
    """
    engines = {name: OnnxRuntimeEngine(path) for name, path in forms.items()}
    for engine in engines.values():
        engine.learn(specs)
    try:
        seconds = SECONDS if len(engines) > 1 else ALONE * SECONDS
        timing = partial(time_forms, engines, feed, specs, profile, seconds=seconds)
        timed, notes = attempt("timing of the CPU engine", timing, untimed(feed))
        form, why = asked, f"{asked} was asked for"
        if asked not in forms:
            form, why = choose_form(list(forms), timed.throughput, _over_budget(check, forms), PLACE)
        energy, failed = attempt(
            "energy of the CPU engine", lambda: measure_energy(engines[form], timed.many, counter_for(None)), None
        )
    finally:
        for engine in engines.values():
            engine.close()
    kernels, unprofiled = _profiled(forms, form, feed, timed)
    node_times = times_of_nodes(ir.load(forms[form]), kernels)
    costs, uncounted = _quantized_costs(forms, form, node_times, feed, timed)
    return EngineRecord(
        form,
        why or no_int8,
        timed.batch,
        timed.latency,
        timed.throughput,
        by_operator(kernels),
        timed.steadiness,
        energy,
        notes=[*notes, *failed, *unprofiled, *uncounted],
        node_times=node_times,
        quantized_costs=costs,
        measured_at=utc_now(),
    )


def _profiled(
    forms: Mapping[str, Path], form: str, feed: Feed, timed: TimedForms
) -> tuple[list[KernelTime], list[str]]:
    none: list[KernelTime] = []
    profile = partial(profile_kernels, forms[form], feed, runs=_runs(timed, form))
    return attempt(f"time per operator in {form}", profile, none)


def _quantized_costs(
    forms: Mapping[str, Path], kept: str, node_times: Mapping[str, float], feed: Feed, timed: TimedForms
) -> tuple[QuantizedCosts | None, list[str]]:
    """What being quantized costs where that was no faster than FP32: both profiled on the same sample. ``node_times``
    are those of the form that was ``kept``.
    """
    quantized = next((form for form in forms if form != CPU_FP32), None)
    if quantized is None or not _lost(timed, quantized) or not node_times:
        return None, []
    other = CPU_FP32 if kept == quantized else quantized
    beside, failed = _profiled(forms, other, feed, timed)
    if not beside:
        return None, failed
    times = {kept: node_times, other: times_of_nodes(ir.load(forms[other]), beside)}
    nodes = {str(node.name) for node in ir.load(forms[CPU_FP32]).graph}
    return QuantizedCosts.between(times[quantized], times[CPU_FP32], nodes), failed


def _lost(timed: TimedForms, quantized: str) -> bool:
    """Whether it was no faster than FP32."""
    rates = timed.throughput
    if quantized not in rates or CPU_FP32 not in rates:
        return False
    return rates[quantized].samples_per_s < LEAST_GAIN * rates[CPU_FP32].samples_per_s


def _over_budget(check: AccuracyCheck | None, forms: Iterable[str]) -> dict[str, str]:
    if check is None or check.ok:
        return {}
    over = f"for {PLACE} is over the accuracy budget: {'; '.join(check.reasons)}"
    return {form: f"{form.upper()} {over}" for form in forms if form != CPU_FP32}


def _runs(timed: TimedForms, form: str) -> int:
    """As many runs as fit in ``PROFILE_MS``, at most ``PROFILED_RUNS``."""
    return min(max(int(PROFILE_MS / timed.latency[form].p50), 1), PROFILED_RUNS) if form in timed.latency else 1
