"""Calling mlcommons-loadgen: settings translated, logs directed, one test run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlperf_loadgen as lg

from benchmarks.loadgen.plan import RunPlan
from benchmarks.loadgen.settings import AUDIT_FILE, SCENARIO_NAMES, LoadgenSettings, Mode, Scenario, Seeds
from benchmarks.loadgen.sut import Sut
from benchmarks.samples.library import SampleLibrary
from engines.errors import EngineError


def native_settings(settings: LoadgenSettings, plan: RunPlan) -> Any:
    """An ``mlperf_loadgen.TestSettings``.

    Official settings come from the compiled-in configuration, which LoadGen reads only on the first ``FromConfig``
    call of a process; raises ``EngineError`` where it did not.
    """
    native = lg.TestSettings()
    name = SCENARIO_NAMES[settings.scenario]
    if settings.official:
        _set_official(native, settings, plan, name)
    else:
        _set_own(native, settings, plan)
    native.scenario = getattr(lg.TestScenario, name)
    native.mode = lg.TestMode.AccuracyOnly if settings.mode is Mode.ACCURACY else lg.TestMode.PerformanceOnly
    if plan.performance_samples:
        native.performance_sample_count_override = plan.performance_samples
    native.single_stream_expected_latency_ns = _nanoseconds(plan.expected_latency_s)
    native.multi_stream_expected_latency_ns = _nanoseconds(plan.expected_latency_s)
    native.server_target_qps = plan.qps
    native.offline_expected_qps = plan.qps
    return native


def _set_official(native: Any, settings: LoadgenSettings, plan: RunPlan, name: str) -> None:
    """The compiled-in configuration, and Server's bound where the request's workload names one.

    A second ``FromConfig`` of a process silently leaves LoadGen's defaults, so the official seeds are the proof.
    """
    if native.FromConfig("", settings.official, name, 0) != 0 or native.qsl_rng_seed != Seeds().qsl:
        raise EngineError(
            f"LoadGen did not load its official settings for {settings.official!r}",
            expected="mlcommons-loadgen 6.0 and a process of its own per run",
        )
    if plan.latency_bound_s:
        native.server_target_latency_ns = _nanoseconds(plan.latency_bound_s)
    if settings.shortened:
        native.min_duration_ms = round(settings.duration_s * 1e3)


def _set_own(native: Any, settings: LoadgenSettings, plan: RunPlan) -> None:
    native.min_duration_ms = round(plan.duration_s * 1e3)
    native.min_query_count = plan.min_queries
    if settings.scenario is not Scenario.OFFLINE:
        native.max_duration_ms = round(plan.limit_s * 1e3)
    native.multi_stream_samples_per_query = settings.samples_per_query
    native.server_target_latency_ns = _nanoseconds(settings.latency_bound_ms / 1e3)
    native.qsl_rng_seed = settings.seeds.qsl
    native.sample_index_rng_seed = settings.seeds.sample_index
    native.schedule_rng_seed = settings.seeds.schedule


def _nanoseconds(seconds: float) -> int:
    return max(1, round(seconds * 1e9))


def run_test(native: Any, sut: Sut, library: SampleLibrary, log_dir: Path) -> None:
    """One LoadGen test; returns when every sample is completed. ``log_dir`` must exist (LoadGen crashes otherwise)."""
    logs = lg.LogSettings()
    logs.enable_trace = False
    logs.log_output.outdir = str(log_dir)
    logs.log_output.copy_summary_to_stdout = False
    system = lg.ConstructFastSUT(sut.issue, _flush)
    samples = lg.ConstructQSL(len(library), library.performance_count, library.load, _keep)
    try:
        # Without an explicit path LoadGen reads audit.config from the current folder.
        lg.StartTestWithLogSettings(system, samples, native, logs, str(log_dir / AUDIT_FILE))
    finally:
        sut.close()
        lg.DestroyQSL(samples)
        lg.DestroyFastSUT(system)


def _flush() -> None:
    """Nothing is held back: every batch is issued as soon as it is formed."""


def _keep(_: list[int]) -> None:
    """Samples stay loaded until the next load replaces them."""
