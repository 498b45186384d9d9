"""From LoadGen's log to a verdict in words, with the nearest setting that would pass."""

from __future__ import annotations

import math
import re

from benchmarks.loadgen.log import DetailLog
from benchmarks.loadgen.settings import MIN_QUERIES, LoadgenSettings, Scenario, per_second

# Errors that say again what another reason says better.
KNOWN_ERRORS = ("Ran out of generated queries", "Max test duration reached", "result_")


def explain(settings: LoadgenSettings, log: DetailLog, target_qps: float | None) -> list[str]:
    """Why LoadGen calls a performance run invalid; empty for a valid one."""
    if not log.values:
        return ["LoadGen wrote no log"]
    if log.valid:
        return []
    reasons = [
        *_duration(settings, log),
        *_latency(settings, log, target_qps),
        *_queries(settings, log),
        *(error for error in log.errors if not any(known in error for known in KNOWN_ERRORS)),
    ]
    return reasons or [log.text("result_invalid_reason") or "LoadGen gave no result"]


def ended_early(settings: LoadgenSettings, log: DetailLog) -> bool:
    """Whether an Offline run was over before its time: its one query was sized for a slower engine."""
    return settings.scenario is Scenario.OFFLINE and log.flag("result_min_duration_met") is False


def _duration(settings: LoadgenSettings, log: DetailLog) -> list[str]:
    if log.flag("result_min_duration_met") is not False:
        return []
    if ended_early(settings, log):
        rate = log.number("result_samples_per_second") or 0.0
        return [
            f"ended before the {settings.duration_s:g} s asked for: the engine was faster than the probe said; "
            f"an expected rate of {per_second(1.2 * rate)} samples/s would pass"
        ]
    return [f"ended before the {settings.duration_s:g} s asked for; a shorter expected latency would pass"]


def _latency(settings: LoadgenSettings, log: DetailLog, target_qps: float | None) -> list[str]:
    if settings.scenario is not Scenario.SERVER or log.flag("result_perf_constraints_met") is not False:
        return []
    p99 = log.milliseconds("result_99.00_percentile_latency_ns")
    found = f"p99 latency {p99:.4g} ms" if p99 is not None else "p99 latency"
    bound = (log.number("effective_target_latency_ns") or settings.latency_bound_ms * 1e6) / 1e6
    rate = per_second(target_qps or 0.0)
    return [f"{found} is over the bound of {bound:g} ms at {rate} qps; {suggest_rate(log, target_qps)}"]


def suggest_rate(log: DetailLog, target_qps: float | None) -> str:
    """A rate likely to pass: what was completed if the engine fell behind, else a fifth less than asked."""
    completed, target = log.number("result_completed_samples_per_sec"), target_qps or 0.0
    rate = 0.8 * min(completed or target, target)
    return f"try about {per_second(_round_down(rate))} qps"


def _round_down(value: float) -> float:
    if value <= 0:
        return 0.0
    step = 10.0 ** (math.floor(math.log10(value)) - 1)
    return math.floor(value / step) * step


def _queries(settings: LoadgenSettings, log: DetailLog) -> list[str]:
    early_stopping, enough = log.flag("early_stopping_met"), log.flag("result_min_queries_met")
    if early_stopping is not False and enough is not False:
        return []
    count = int(log.number("result_query_count") or 0)
    least = max(MIN_QUERIES[settings.scenario], int(log.number("effective_min_query_count") or 0))
    if count < least:
        return [f"only {count} of the {least} queries needed; {_longer(log, count, least)}"]
    over = int(log.number("result_overlatency_query_count") or 0)
    more = re.search(r"at least (\d+) more", log.text("early_stopping_result"))
    needs = f"{more.group(1)} more queries" if more else "a longer run or a lower rate"
    return [f"{over} of {count} queries were over the bound, too many to be sure of p99; would need {needs}"]


def _longer(log: DetailLog, count: int, least: int) -> str:
    mean = log.number("result_mean_query_latency_ns") or log.number("result_mean_latency_ns")
    if rate := log.number("result_scheduled_samples_per_sec"):
        return f"a duration and limit of {math.ceil(1.1 * least / rate)} s would pass"
    if mean and count:
        return f"a limit of {math.ceil(1.1 * least * mean / 1e9)} s would pass"
    return "a longer run would pass"
