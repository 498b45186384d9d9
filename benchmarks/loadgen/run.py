"""One LoadGen run in a child process: start, watch, read the logs, judge."""

from __future__ import annotations

import os
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

from benchmarks.loadgen.log import DetailLog, read_detail_log
from benchmarks.loadgen.messages import ChildReport, ChildRequest
from benchmarks.loadgen.settings import AUDIT_FILE, LoadgenRequest, LoadgenResult, LoadgenSettings, Mode, Scenario
from benchmarks.loadgen.verdict import ended_early, explain
from benchmarks.loadgen.watch import Ending, watch
from engines.processes.child_process import Child
from graphs.errors import BadInput
from graphs.files import read_json, write_json
from graphs.staging import in_folder

OUTPUT_FILE = "process.log"
REPETITIONS = 3
"""How often an Offline run that was over too soon is made again, with the rate it measured."""
LOG_FILES = (
    "mlperf_log_summary.txt",
    "mlperf_log_detail.txt",
    "mlperf_log_accuracy.json",
    "mlperf_log_trace.json",
    AUDIT_FILE,  # an earlier run's would override this one's settings
)
METRICS = {
    Scenario.SINGLE_STREAM: ("p90 latency", "ms", "early_stopping_latency_ss"),
    Scenario.MULTI_STREAM: ("p99 latency", "ms", "early_stopping_latency_ms"),
    Scenario.SERVER: ("completed queries", "queries/s", "result_completed_samples_per_sec"),
    Scenario.OFFLINE: ("throughput", "samples/s", "result_samples_per_second"),
}


def run_loadgen(request: LoadgenRequest) -> LoadgenResult:
    """Run LoadGen in a process of its own and judge the outcome; never raises for an engine that fails, hangs or dies.

    An Offline run that ended early because the engine was faster than the probe said is repeated with the measured
    rate, up to three times: on a busy machine one measured rate may be too low as well. Raises ``BadInput`` for samples
    or an engine folder that cannot be used.
    """
    result = _attempt(ChildRequest(request))
    for _ in range(REPETITIONS):
        if not (result.ended_early and result.value):
            break
        result = _attempt(ChildRequest(request, offline_qps=1.1 * result.value))
        result.notes.append("repeated: an earlier run ended before its time")
    return result


def _attempt(job: ChildRequest) -> LoadgenResult:
    request = job.request
    log_dir = Path(request.log_dir).absolute()
    with in_folder(log_dir), tempfile.TemporaryDirectory(prefix="loadgen-") as scratch:
        for name in LOG_FILES:  # a run that dies early must not be judged by an older run's logs
            (log_dir / name).unlink(missing_ok=True)
        request_path, report_path = Path(scratch) / "request.json", Path(scratch) / "report.json"
        write_json(request_path, _absolute(job, log_dir))
        ending = _run_child(request_path, report_path, log_dir, request.settings)
        report = read_json(report_path, ChildReport) if report_path.exists() else None
        if report is not None and report.bad_input:
            for name in (*LOG_FILES, OUTPUT_FILE):
                (log_dir / name).unlink(missing_ok=True)
            raise BadInput(report.bad_input, where="LoadGen run")
    return _judge(request, report, ending, log_dir)


def _absolute(job: ChildRequest, log_dir: Path) -> ChildRequest:
    request = job.request
    samples = tuple(str(Path(path).absolute()) for path in request.samples)
    return replace(job, request=replace(request, samples=samples, log_dir=str(log_dir)))


def _run_child(request: Path, report: Path, log_dir: Path, settings: LoadgenSettings) -> Ending:
    read_end, write_end = os.pipe()
    with os.fdopen(read_end, "rb", buffering=0) as beats, (log_dir / OUTPUT_FILE).open("wb") as output:
        try:
            child = Child(
                "benchmarks.loadgen.child",
                *(str(request), str(report), str(write_end)),
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=(write_end,),
            )
        finally:
            os.close(write_end)
        with child:
            return watch(child, beats.fileno(), settings.stall_s, _total_seconds(settings))


def _total_seconds(settings: LoadgenSettings) -> float | None:
    if settings.official or settings.mode is Mode.ACCURACY:
        return None
    return 400.0 + 3 * max(settings.limit_s, 2 * settings.duration_s)


def _judge(request: LoadgenRequest, report: ChildReport | None, ending: Ending, log_dir: Path) -> LoadgenResult:
    settings = request.settings
    log = read_detail_log(log_dir)
    report = report or ChildReport(completed=ending.completed)
    reasons = [ending.cause] if ending.cause else []
    reasons += report.failures
    accuracy = settings.mode is Mode.ACCURACY
    if not reasons:
        reasons = list(log.errors) if accuracy else explain(settings, log, report.target_qps)
    if ending.cause:
        reasons += _last_words(log_dir)
    metric, unit, key = ("answers logged", "samples", "") if accuracy else METRICS[settings.scenario]
    return LoadgenResult(
        scenario=settings.scenario,
        mode=settings.mode,
        valid=not reasons,
        metric=metric,
        value=float(report.completed) if accuracy else _value(log, key, unit),
        unit=unit,
        reasons=reasons,
        notes=report.notes,
        p50=_latency(settings, log, "50.00"),
        p90=_latency(settings, log, "90.00"),
        p99=_latency(settings, log, "99.00"),
        samples=report.completed,
        queries=int(log.number("result_query_count") or 0),
        duration_s=report.duration_s,
        engine_s=report.engine_s,
        log_dir=str(log_dir),
        batch=report.batch,
        batch_histogram=report.batch_histogram,
        target_qps=report.target_qps,
        loadgen_version=log.text("loadgen_version") or report.loadgen_version,
        failed=report.failed,
        workers=settings.workers,
        ended_early=len(reasons) == 1 and ended_early(settings, log),
        score=report.score,
    )


def _value(log: DetailLog, key: str, unit: str) -> float | None:
    return log.milliseconds(key) if unit == "ms" else log.number(key)


def _latency(settings: LoadgenSettings, log: DetailLog, percentile: str) -> float | None:
    if settings.scenario is Scenario.OFFLINE:
        return None
    per_query = "_per_query" if settings.scenario is Scenario.MULTI_STREAM else ""
    return log.milliseconds(f"result_{percentile}_percentile{per_query}_latency_ns")


def _last_words(log_dir: Path) -> list[str]:
    """The last line the process printed, which usually names the cause."""
    lines = (log_dir / OUTPUT_FILE).read_text(errors="replace").strip().splitlines()
    return [f"its last words: {lines[-1][:300]}"] if lines else []
