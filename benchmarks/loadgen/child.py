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
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import mlperf_loadgen

from benchmarks.loadgen.answers import ANSWER, AnswerRecorder, read_answers
from benchmarks.loadgen.messages import ChildReport, ChildRequest
from benchmarks.loadgen.native import native_settings, run_test
from benchmarks.loadgen.plan import RunPlan, make_plan
from benchmarks.loadgen.probe import Probe, probe
from benchmarks.loadgen.settings import AUDIT_FILE, LoadgenRequest, LoadgenSettings, Mode, Scenario, per_second
from benchmarks.loadgen.subject import Subject, open_subject
from benchmarks.loadgen.sut import Answer, Completer, Guard, InlineSut, OfflineSut, ServerSut, Sut, answering
from benchmarks.samples.execute import LATE, Activity, Executor, Failures
from benchmarks.samples.library import SampleLibrary
from benchmarks.score import TaskScore
from benchmarks.task import Task
from graphs.errors import BadInput, EnginewrightError
from graphs.files import read_json, write_json

BEAT_SECONDS = 0.2
"""How often the child tells the parent that it lives; a hundredth of the default time after which it counts as hung."""
WARM_UP_SAMPLES = 64
"""Samples in memory while the engine warms up and is probed: as many as the largest batch that is probed. Chosen."""


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
    subject = open_subject(request)
    library = subject.library
    executors = [Executor(engine, library, failures, activity) for engine in subject.engines]
    pulse.enter("warm-up")
    library.load(range(min(len(library), library.performance_count, WARM_UP_SAMPLES)))
    probed = _probe_all(executors, settings)
    if probed.failed:
        return ChildReport(failures=[f"already the warm-up failed: {probed.failed}"])
    plan = make_plan(settings, probed, job.offline_qps)
    if subject.task is not None:
        bound = settings.latency_bound_ms / 1e3 if settings.scenario is Scenario.SERVER else None
        plan = replace(plan, performance_samples=library.performance_count, latency_bound_s=bound)
    return _measure(Run(request, plan, executors, subject, failures), pulse)


@dataclass(frozen=True)
class Run:
    """Everything a run needs once it is planned."""

    request: LoadgenRequest
    plan: RunPlan
    executors: Sequence[Executor]
    subject: Subject
    failures: Failures

    @property
    def accuracy(self) -> bool:
        return self.request.settings.mode is Mode.ACCURACY

    def recorder(self) -> AnswerRecorder | None:
        """Answers go to LoadGen in accuracy runs, and in performance runs where MLPerf's rules count."""
        settings, task, first = self.request.settings, self.subject.task, self.executors[0]
        if task is None and not (settings.logs_answers or settings.official):
            return None
        return AnswerRecorder(first.engine.outputs, first.splits, task.answers if task else None)


def _probe_all(executors: Sequence[Executor], settings: LoadgenSettings) -> Probe:
    """The first engine is probed; the others run once to be warm."""
    limit = 1 if settings.scenario is Scenario.SINGLE_STREAM else settings.max_batch
    probed = probe(executors[0], limit, None if limit == 1 else settings.batch)
    for executor in executors[1:]:
        executor.learn_splitting()
    for executor in executors:
        executor.histogram.clear()
        executor.engine_s = 0.0
    return probed


def _measure(run: Run, pulse: Pulse) -> ChildReport:
    log_dir, settings, plan, executors = Path(run.request.log_dir), run.request.settings, run.plan, run.executors
    recorder = run.recorder()
    answers = [answering(executor, Completer(pulse.activity), recorder) for executor in executors]
    sut = _make_sut(settings, plan, answers, run.subject.library, Guard(run.failures, pulse.activity))
    if settings.audit:
        (log_dir / AUDIT_FILE).write_text(settings.audit)
    pulse.enter("run")
    start = time.monotonic()
    for executor in executors:
        executor.deadline = start + plan.deadline_s
    run_test(native_settings(settings, plan), sut, run.subject.library, log_dir)
    duration = time.monotonic() - start
    if recorder is not None:
        recorder.save(log_dir)
    served = pulse.activity.completed - run.failures.total
    _advise_late(run.failures, plan, served / max(duration, 1e-9))
    histogram = sum((executor.histogram for executor in executors), Counter[int]())
    report = ChildReport(
        failures=run.failures.sentences(),
        notes=plan.notes,
        batch=plan.batch,
        batch_histogram={str(size): count for size, count in sorted(histogram.items())},
        completed=pulse.activity.completed,
        duration_s=duration,
        engine_s=sum(executor.engine_s for executor in executors) / len(executors),
        target_qps=plan.qps if settings.scenario is Scenario.SERVER else None,
        loadgen_version=str(getattr(mlperf_loadgen, "__version__", "")),
        failed=run.failures.total,
    )
    if run.subject.task is None or not run.accuracy or report.failures:
        return report
    pulse.enter("score")
    return replace(report, score=_score(run.subject.task, log_dir))


def _score(task: Task, log_dir: Path) -> TaskScore:
    """The task's metric over the answers that LoadGen logged."""
    return TaskScore.of(task.score({index: outputs[ANSWER] for index, outputs in read_answers(log_dir)}))


def _advise_late(failures: Failures, plan: RunPlan, served_per_s: float) -> None:
    """Where samples were given up, say which load the engine can take: what it served, or what the probe saw."""
    if LATE in failures.first:
        reached = min(plan.capacity, served_per_s)
        failures.first[LATE] = (
            f"asked for {per_second(plan.qps)} per second of an engine that reaches about {per_second(reached)}; "
            f"try {per_second(0.8 * min(reached, plan.qps))}"
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
