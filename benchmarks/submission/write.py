"""Making the folder: run LoadGen, score its answers, run the compliance tests, write every file where it belongs."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from benchmarks.accuracy.task_metric import TaskMetric
from benchmarks.loadgen.answers import LOG_FILE as ACCURACY_LOG
from benchmarks.loadgen.answers import read_answers
from benchmarks.loadgen.log import DETAIL_FILE, read_detail_log
from benchmarks.loadgen.run import run_loadgen
from benchmarks.loadgen.settings import LoadgenRequest, LoadgenResult, LoadgenSettings, Mode, Scenario
from benchmarks.score import Score
from benchmarks.submission import documents
from benchmarks.submission.compliance import Verification, audit_config, verify_accuracy, verify_performance
from benchmarks.submission.evaluation import ReplayingEngine, record_samples
from benchmarks.submission.request import IMPLEMENTATION, Places, SubmissionRequest, Weights
from benchmarks.submission.system import describe_system, system_name
from engines.engine import Array, TensorSpec
from engines.errors import EngineError
from engines.manifest import EngineManifest
from engines.open import open_engine
from graphs.digests import sha256_file
from graphs.errors import BadInput
from graphs.files import unwritable, write_json
from graphs.staging import in_folder, staged

SUMMARY_FILE = "mlperf_log_summary.txt"
LOGS = (SUMMARY_FILE, DETAIL_FILE)
SAME_SCORE = 0.01
"""Relative difference of scores with which TEST01 passes though answers differ (MLCommons' compliance folder)."""
TRUNCATED_BYTES = 10_000
"""Characters of an accuracy log that are kept, half of either end: MLCommons' checker takes none over 10 KiB."""
ATTEMPTS = 2
"""A shared machine is slow at times; the rules let a compliance test be run again. Chosen."""


@dataclass(frozen=True)
class ScenarioOutcome:
    """One scenario's runs: the performance run, the metric over the logged answers, and each compliance check."""

    scenario: Scenario
    performance: LoadgenResult
    metric: str
    score: float
    target: float | None
    compliance: dict[str, bool] = field(default_factory=dict)

    @property
    def accurate(self) -> bool | None:
        """Whether the accuracy target is met; None where the FP32 metric is not known."""
        return None if self.target is None else self.score >= self.target


@dataclass(frozen=True)
class SubmissionOutcome:
    """The folder ``root`` (division and submitter included) and what was measured."""

    root: Path
    system: str
    direct_score: float
    scenarios: list[ScenarioOutcome]
    full_logs: Path


@dataclass(frozen=True)
class _Task:
    """What the scenarios share."""

    request: SubmissionRequest
    engine: EngineManifest
    specs: tuple[TensorSpec, ...]
    metric: TaskMetric
    samples: tuple[str, ...]
    root: Path
    scratch: Path
    weights: Weights
    full_logs: Path


def write_submission(request: SubmissionRequest) -> SubmissionOutcome:
    """Run everything and leave the folder ``request.out``; its full accuracy logs (the layout wants them cut to 10 kB)
    go to ``OUT.full_logs``.

    Raises ``BadInput`` for a folder that exists, a metric that runs no sample, or an engine that cannot be opened;
    ``EngineError`` where LoadGen's run failed. Both folders appear when all is there, or not at all.
    """
    if request.out.exists() and any(request.out.iterdir()):
        raise BadInput("exists and is not empty", where=str(request.out), fix="choose another folder with -o")
    engine = EngineManifest.load(request.engine)
    named = replace(request, system=request.system or system_name(engine))
    inside, full_logs = Path(named.division, named.submitter), named.out.with_name(f"{named.out.name}.full_logs")
    try:
        with (
            tempfile.TemporaryDirectory(prefix="submission-") as scratch,
            in_folder(named.out.parent),
            staged(full_logs) as logs,
            staged(named.out) as growing,
        ):
            outcome = _write(named, engine, growing / inside, logs, Path(scratch))
    except OSError as error:
        raise unwritable(named.out, error) from error
    return replace(outcome, root=named.out / inside, full_logs=full_logs)


def _write(
    request: SubmissionRequest, engine: EngineManifest, root: Path, full_logs: Path, scratch: Path
) -> SubmissionOutcome:
    metric = TaskMetric.load(request.evaluate)
    request.say("recording the samples of the evaluation")
    with open_engine(request.engine) as opened:
        samples, direct = record_samples(metric, opened, scratch / "samples")
        specs = opened.inputs
    weights = request.weights or documents.weights_of(engine, engine.file, {}, [])
    task = _Task(request, engine, specs, metric, samples, root, scratch, weights, full_logs)
    outcomes = [_scenario(task, scenario, direct) for scenario in request.scenarios]
    write_json(_made(root / "systems" / f"{request.system}.json"), _system(request, engine))
    documents.write_text(root / "code" / request.task / "README.md", documents.code_notes(request.task, weights))
    return SubmissionOutcome(root, request.system, direct.value, outcomes, full_logs)


def _system(request: SubmissionRequest, engine: EngineManifest) -> dict[str, str]:
    return describe_system(
        division=request.division,
        submitter=request.submitter,
        name=request.system,
        system_type=request.system_type,
        engine=engine,
    )


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _scenario(task: _Task, scenario: Scenario, direct: Score) -> ScenarioOutcome:
    places = Places(task.root, task.request.system, task.request.task, scenario)
    logs = task.scratch / scenario.value
    performance = _run(task, scenario, logs / "performance", Mode.PERFORMANCE)
    _copy(logs / "performance", places.performance, LOGS)
    _run(task, scenario, logs / "accuracy", Mode.ACCURACY, batch=performance.batch)
    score = task.metric.score(ReplayingEngine(task.specs, dict(read_answers(logs / "accuracy"))))  # type: ignore[arg-type]
    target = _target(task.request, direct)
    compliance = {test: _comply(task, places, test, performance, logs) for test in task.request.tests}
    _write_accuracy(task, places, logs / "accuracy", score, target)
    _write_measurements(task, places, performance, logs / "performance")
    return ScenarioOutcome(scenario, performance, score.metric, score.value, target, compliance)


def _target(request: SubmissionRequest, direct: Score) -> float | None:
    if request.reference is None or not direct.higher_is_better:
        return None
    return request.reference * request.target_share


def _run(
    task: _Task, scenario: Scenario, logs: Path, mode: Mode, audit: str = "", batch: int | None = None
) -> LoadgenResult:
    request = task.request
    request.say(f"{scenario.value}: {logs.name} run")
    settings = LoadgenSettings(
        scenario,
        mode=mode,
        duration_s=request.duration_s,
        limit_s=max(60.0, 6 * request.duration_s),
        latency_bound_ms=request.latency_bound_ms,
        # Every sample is sent once: at the rate asked for that could take hours, so the probed one serves.
        target_qps=None if mode is Mode.ACCURACY else request.target_qps,
        max_batch=batch,
        official=request.official,
        audit=audit,
    )
    result = run_loadgen(LoadgenRequest(str(request.engine), task.samples, settings, str(logs)))
    if mode is Mode.ACCURACY and not result.valid:
        raise EngineError(f"the accuracy run failed: {'; '.join(result.reasons)}", where=str(request.engine))
    if not (logs / SUMMARY_FILE).is_file():
        raise EngineError(f"LoadGen's run failed: {'; '.join(result.reasons)}", where=str(request.engine))
    return result


def _copy(source: Path, target: Path, names: tuple[str, ...]) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for name in names:
        shutil.copyfile(source / name, target / name)


def _comply(task: _Task, places: Places, test: str, reference: LoadgenResult, logs: Path) -> bool:
    """Run one compliance test, write its folder; whether it passed."""
    folder, run_logs = places.compliance(test), logs / test
    speed = _timed_test(task, places.scenario, test, reference, run_logs)
    _copy(run_logs, folder / "performance" / "run_1", LOGS)
    documents.write_text(folder / "verify_performance.txt", speed.text)
    if test != "TEST01":
        return speed.passed
    same = verify_accuracy(logs / "accuracy", run_logs)
    documents.write_text(folder / "verify_accuracy.txt", same.text)
    return _keep_answers(task, folder, logs, same) and speed.passed


def _timed_test(task: _Task, scenario: Scenario, test: str, reference: LoadgenResult, logs: Path) -> Verification:
    """The test's run and its check, with the performance run's batch; once more where a first attempt was off."""
    for attempt in range(1, ATTEMPTS + 1):
        audit = audit_config(test, scenario)
        tested = _run(task, scenario, logs, Mode.PERFORMANCE, audit, reference.batch)
        speed = verify_performance(test, reference, tested)
        speed = Verification(speed.passed, [*speed.lines, f"attempt = {attempt} of {ATTEMPTS}"])
        if speed.passed:
            break
    return speed


def _keep_answers(task: _Task, folder: Path, logs: Path, same: Verification) -> bool:
    """Copy TEST01's answers; where they are not bit-equal, score both on the logged samples: within 1 % passes."""
    _copy(logs / "TEST01", folder / "accuracy", (ACCURACY_LOG,))
    _truncate(folder / "accuracy" / ACCURACY_LOG)
    if same.passed:
        return True
    answers, logged = dict(read_answers(logs / "accuracy")), dict(read_answers(logs / "TEST01"))
    before = _score_on(task, answers, sorted(logged))
    after = _score_on(task, {**answers, **logged}, sorted(logged))
    documents.write_text(folder / "accuracy" / "baseline_accuracy.txt", f"accuracy={before:.6f}\n")
    documents.write_text(folder / "accuracy" / "compliance_accuracy.txt", f"accuracy={after:.6f}\n")
    return bool(after) and abs(1 - before / after) <= SAME_SCORE


def _score_on(task: _Task, answers: dict[int, dict[str, Array]], indices: list[int]) -> float:
    """The mean score of some samples; of all where the metric gives no score per sample."""
    score = task.metric.score(ReplayingEngine(task.specs, answers))  # type: ignore[arg-type]
    return score.value if score.per_sample is None else float(np.mean(score.per_sample[indices]))


def _write_accuracy(task: _Task, places: Places, logs: Path, score: Score, target: float | None) -> None:
    _copy(logs, places.accuracy, (*LOGS, ACCURACY_LOG))
    full = _made(task.full_logs / places.tail / ACCURACY_LOG)
    shutil.copyfile(logs / ACCURACY_LOG, full)
    digest = sha256_file(full)
    lines = [f"accuracy={score.value:.6f}", f"metric={score.metric}, samples={score.samples}", f"hash={digest}"]
    if target is not None:
        share = f"{task.request.target_share:.4g} of FP32 {task.request.reference:.6f}"
        lines.insert(1, f"target={target:.6f} ({share})")
    documents.write_text(places.accuracy / "accuracy.txt", "\n".join(lines) + "\n")
    _truncate(places.accuracy / ACCURACY_LOG)


def _truncate(path: Path) -> None:
    """Keep head and tail of a log over 10 kB, as the layout wants."""
    content = path.read_bytes()
    if len(content) > TRUNCATED_BYTES:
        half = TRUNCATED_BYTES // 2 - 10
        path.write_bytes(content[:half] + b"\n\n...\n\n" + content[-half:])


def _write_measurements(task: _Task, places: Places, run: LoadgenResult, logs: Path) -> None:
    request, folder, log = task.request, places.measurements, read_detail_log(logs)
    documents.write_text(folder / "user.conf", documents.user_conf(places.scenario, log))
    documents.write_text(folder / "mlperf.conf", documents.mlperf_conf(request.task, request.official, log))
    documents.write_text(folder / "README.md", documents.readme(request, task.engine, places.scenario, run))
    documents.write_text(folder / "calibration_process.adoc", documents.calibration(request.calibration))
    name = f"{request.system}_{IMPLEMENTATION}_{places.tail.name}.json"
    write_json(folder / name, documents.measurements(task.weights))
