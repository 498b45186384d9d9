"""What text and page both say of a report, in the same words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime

from benchmarks.accuracy.task_metric import TaskAccuracy
from benchmarks.report import formats
from benchmarks.report.budget import BudgetSummary, PrecisionSearch
from benchmarks.report.model import OutputFidelity, Report, TargetSummary
from benchmarks.report.updated import UpdateSummary

CALIBRATED_PRECISIONS = ("int8", "fp8", "int8wo", "int4", "nvfp4", "mxfp8", "auto")
"""Requests that need ranges from data; for the others ``calibrated`` says nothing."""
FROM_SOURCE = "source"
"""The calibration method of ranges that a model came with."""


def uncalibrated(report: Report) -> bool:
    """Whether ranges were needed and come from no data, nor from the model itself."""
    from_source = report.calibration.get("method") == FROM_SOURCE
    return not report.calibrated and not from_source and report.precision.requested in CALIBRATED_PRECISIONS


def timed_earlier(target: TargetSummary) -> str:
    """Where the times of an engine are an earlier run's; empty where this run took them."""
    if not target.timed_earlier:
        return ""
    when = datetime.fromisoformat(target.timed_earlier).strftime("%Y-%m-%d %H:%M")
    return f"timed at {when} UTC by an earlier run on this machine; --force times it again"


def worst_output(outputs: Mapping[str, OutputFidelity] | None) -> OutputFidelity | None:
    """The output with the lowest SQNR; an exact one counts as infinite."""
    if not outputs:
        return None
    return min(outputs.values(), key=lambda o: math.inf if o.sqnr_db is None else o.sqnr_db)


def simulated(target: TargetSummary) -> bool:
    """Whether the target's accuracy was computed by a stand-in and not by the engine itself."""
    return target.accuracy is not None and target.accuracy_simulated


def noise(target: TargetSummary) -> str:
    """What a reader must know of timings that did not pass the gate; empty where they did."""
    if target.steadiness is None or target.steadiness.trusted:
        return ""
    found = target.steadiness.speedup.get(target.kept_precision or "")
    between = f"{formats.ratio(found.low)} to {formats.ratio(found.high)}" if found else ""
    beside = f"; beside {target.steadiness.baseline} {between}, 95 % interval" if between else ""
    return f"noisy timings, not to be trusted alone{beside}"


def percentage(share: float) -> str:
    """``0.01`` -> ``1 %``."""
    return f"{share * 100:.3g} %"


def drop(task: TaskAccuracy) -> str:
    """A drop in the metric's own unit and against FP32: ``0.0022 (0.306 % of FP32)``; a gain reads ``-0.0010``."""
    relative = f" ({percentage(task.drop / abs(task.fp32))} of FP32)" if task.fp32 else ""
    return f"{task.drop:.3g}{relative}"


def sampled(task: TaskAccuracy) -> str:
    """Of a candidate that ran on part of the samples: ``at most 0.41 % with 95 % confidence, by 3,300 of 10,000
    samples``; empty where it ran on all.
    """
    if (bound := task.sampled) is None:
        return ""
    sure = f"at most {percentage(bound.upper)} with {100 * bound.level:.0f} % confidence"
    return f"{sure}, by {bound.samples:,} of {task.samples:,} samples"


def budget(found: BudgetSummary, max_drop: float) -> str:
    """``within 0.5 %, surely: a drop of 0.03 %, at most 0.19 % with 95 % confidence (…)``."""
    words = {
        "surely": f"within {percentage(max_drop)}, surely",
        "on_samples": f"within {percentage(max_drop)} on these samples, not surely on others",
        "missed": f"{percentage(max_drop)} missed",
    }
    text = f"{words[found.verdict]}: a drop of {percentage(found.drop)}"
    if found.upper is not None:
        text += f", at most {percentage(found.upper)} with {100 * found.level:.0f} % confidence, one-sided"
    return f"{text} ({found.how})" if found.how else text


def search(found: PrecisionSearch) -> str:
    """``4 forms measured for latency, those after the first in 25 s of at most 59 s; …``."""
    chosen = found.chosen
    share = f"; {formats.percent(chosen.int8_mac_share)} of MACs quantized" if chosen is not None else ""
    if len(found.points) == 1:
        return f"1 form measured for {found.optimize_for}, no other was tried{share}"
    took = f"those after the first in {formats.seconds(found.seconds)} of at most {formats.seconds(found.bound_s)}"
    return f"{len(found.points)} forms measured for {found.optimize_for}, {took}{share}"


def update_lines(found: UpdateSummary, seconds: float) -> list[str]:
    """What became of the calibration of each form, and the time beside that of the bundle before."""
    lines = [f"calibration of {form} {check.sentence}" for form, check in found.calibration.items()]
    took, before = formats.seconds(seconds), formats.seconds(found.seconds)
    if not found.same_machine:
        return [*lines, f"took {took}; {found.bundle} took {before} on another processor"]
    share = f"{formats.percent(seconds / found.seconds)} of " if found.seconds else "beside "
    return [*lines, f"took {took}, {share}the {before} that {found.bundle} took"]
