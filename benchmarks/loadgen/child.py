"""The process of one LoadGen run: ``python -m benchmarks.loadgen.child REQUEST.json REPORT.json PIPE``.

It sends one JSON line per beat through the pipe, so that the parent can tell slow from hung, and writes its report
when LoadGen is done. It ends itself when the parent is gone.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import mlperf_loadgen

from benchmarks.loadgen.answers import AnswerRecorder
from benchmarks.loadgen.execute import LATE, Activity, Executor, Failures
from benchmarks.loadgen.messages import ChildReport, ChildRequest
from benchmarks.loadgen.native import native_settings, run_test
from benchmarks.loadgen.plan import RunPlan, make_plan
from benchmarks.loadgen.probe import Probe, probe
from benchmarks.loadgen.samples import SampleLibrary
from benchmarks.loadgen.settings import AUDIT_FILE, LoadgenRequest, LoadgenSettings, Scenario
from benchmarks.loadgen.source import open_source
from benchmarks.loadgen.sut import Answer, Completer, Guard, InlineSut, OfflineSut, ServerSut, Sut, answering
from engines.errors import BadInput, EnginewrightError
from engines.files import read_json, write_json

BEAT_SECONDS = 0.2


class Pulse:
    """Tells the parent what is going on: at every stage, and each fifth of a second."""

    def __init__(self, activity: Activity, pipe: int) -> None:
        self.activity, self._pipe = activity, pipe

    def enter(self, stage: str) -> None:
        self.activity.stage = stage
        self.beat()

    def beat(self) -> None:
        """Send the counters; end the process when the parent is gone, for nobody waits for its result."""
        try:
            os.write(self._pipe, (json.dumps(asdict(self.activity)) + "\n").encode())
        except OSError:
            os._exit(1)

    def keep_beating(self) -> None:
        while True:
            self.beat()
            time.sleep(BEAT_SECONDS)


def run(job: ChildRequest, pulse: Pulse) -> ChildReport:
    """Open, probe, plan and run."""
    request, failures, activity = job.request, Failures(), pulse.activity
    settings = request.settings
    engines = [open_source(request.engine) for _ in range(_workers(settings))]
    library = SampleLibrary(request.samples, engines[0].inputs)
    executors = [Executor(engine, library, failures, activity) for engine in engines]
    pulse.enter("warm-up")
    library.load(range(min(len(library), library.performance_count, 64)))
    probed = _probe_all(executors, settings)
    if probed.failed:
        return ChildReport(failures=[f"already the warm-up failed: {probed.failed}"])
    plan = make_plan(settings, probed, job.offline_qps)
    return _measure(request, plan, executors, library, failures, pulse)


def _workers(settings: LoadgenSettings) -> int:
    return settings.workers if settings.scenario in (Scenario.OFFLINE, Scenario.SERVER) else 1


def _probe_all(executors: Sequence[Executor], settings: LoadgenSettings) -> Probe:
    """The first engine is probed; the others run once to be warm."""
    probed = probe(executors[0], 1 if settings.scenario is Scenario.SINGLE_STREAM else settings.max_batch)
    for executor in executors[1:]:
        executor.learn_splitting()
    for executor in executors:
        executor.histogram.clear()
        executor.engine_s = 0.0
    return probed


def _measure(
    request: LoadgenRequest,
    plan: RunPlan,
    executors: Sequence[Executor],
    library: SampleLibrary,
    failures: Failures,
    pulse: Pulse,
) -> ChildReport:
    log_dir, settings = Path(request.log_dir), request.settings
    logged = settings.logs_answers
    recorder = AnswerRecorder(executors[0].engine.outputs, executors[0].splits) if logged else None
    answers = [answering(executor, Completer(pulse.activity), recorder) for executor in executors]
    sut = _make_sut(settings, plan, answers, library, Guard(failures, pulse.activity))
    if settings.audit:
        (log_dir / AUDIT_FILE).write_text(settings.audit)
    pulse.enter("run")
    start = time.monotonic()
    for executor in executors:
        executor.deadline = start + plan.deadline_s
    run_test(native_settings(settings, plan), sut, library, log_dir)
    duration = time.monotonic() - start
    if recorder is not None:
        recorder.save(log_dir)
    _advise_late(failures, plan)
    histogram = sum((executor.histogram for executor in executors), Counter[int]())
    return ChildReport(
        failures=failures.sentences(),
        notes=plan.notes,
        batch=plan.batch,
        batch_histogram={str(size): count for size, count in sorted(histogram.items())},
        completed=pulse.activity.completed,
        duration_s=duration,
        engine_s=sum(executor.engine_s for executor in executors) / len(executors),
        target_qps=plan.qps if settings.scenario is Scenario.SERVER else None,
        loadgen_version=str(getattr(mlperf_loadgen, "__version__", "")),
    )


def _advise_late(failures: Failures, plan: RunPlan) -> None:
    """Where samples were given up, say which load the engine can take."""
    if LATE in failures.first:
        failures.first[LATE] = (
            f"asked for {plan.qps:.4g} per second of an engine that reaches about {plan.capacity:.4g}; "
            f"try {0.8 * plan.capacity:.3g}"
        )


def _make_sut(
    settings: LoadgenSettings, plan: RunPlan, answers: Sequence[Answer], library: SampleLibrary, guard: Guard
) -> Sut:
    if settings.scenario is Scenario.OFFLINE:
        return OfflineSut(answers, library, plan.batch, guard)
    if settings.scenario is Scenario.SERVER:
        return ServerSut(answers, library, plan.batch, guard, settings.max_wait_ms / 1e3)
    return InlineSut(answers[0], library, plan.batch, guard)


def main(arguments: Sequence[str]) -> None:
    request_path, report_path, pipe = Path(arguments[0]), Path(arguments[1]), int(arguments[2])
    pulse = Pulse(Activity(), pipe)
    threading.Thread(target=pulse.keep_beating, daemon=True).start()
    try:
        report = run(read_json(request_path, ChildRequest), pulse)
    except BadInput as error:
        report = ChildReport(bad_input=str(error))
    except EnginewrightError as error:
        report = ChildReport(failures=[f"the engine cannot be used: {error}"])
    write_json(report_path, report)
    sys.stdout.flush()
    # Engines of many threads and LoadGen's own statics can crash in their destructors; the report is on disk.
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
