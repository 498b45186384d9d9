"""``optimize submission``: a bundle's engine as a folder in the layout of an MLPerf Inference submission."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.loadgen.settings import Scenario
from benchmarks.report.formats import significant
from benchmarks.report.model import read_report
from benchmarks.submission.checker import check_submission
from benchmarks.submission.checks import SYSTEM_TYPES, CheckedFolder
from benchmarks.submission.compliance import TESTS
from benchmarks.submission.documents import weights_of
from benchmarks.submission.request import UNVERIFIED, SubmissionRequest
from benchmarks.submission.write import SubmissionOutcome, write_submission
from engines.manifest import EngineManifest
from graphs.errors import BadInput
from optimizer.bundle import Bundle
from optimizer.settings.given import choice
from optimizer.settings.numbers_given import check_above_zero

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True)
class SubmissionOptions:
    """What the user chose; see ``benchmarks.submission.request.SubmissionRequest``."""

    evaluate: str
    target: str | None = None
    task: str = ""
    scenarios: Sequence[str] = ("offline", "singlestream")
    tests: Sequence[str] = TESTS
    division: str = "open"
    submitter: str = "unverified"
    system: str = ""
    system_type: str = "edge"
    duration: float = 10.0
    server_latency_ms: float = 100.0
    qps: float | None = None
    official: str = ""


def make_submission(
    path: Path, out: Path, options: SubmissionOptions, say: Callable[[str], None] = lambda _: None
) -> tuple[SubmissionOutcome, CheckedFolder]:
    """Measure ``path``'s engine, write the folder ``out``, and check it. Raises ``BadInput`` for unusable options."""
    check_above_zero(
        {"--duration": options.duration, "--server-latency": options.server_latency_ms, "--qps": options.qps}
    )
    if options.system_type not in SYSTEM_TYPES:
        known = ", ".join(SYSTEM_TYPES)
        raise BadInput(f"unknown type {options.system_type!r}", where="--system-type", expected=f"one of {known}")
    bundle = Bundle(path)
    target = options.target or bundle.usual_target()
    directory = bundle.engine_directory(target)
    if not options.evaluate:
        raise BadInput("an accuracy run needs a task metric", where="--evaluate", expected="file.py:function")
    if unknown := sorted(set(options.tests) - set(TESTS)):
        raise BadInput(f"unknown test {unknown[0]!r}", where="--tests", expected=f"some of {', '.join(TESTS)}")
    if options.division not in ("open", "closed"):
        raise BadInput(f"unknown division {options.division!r}", where="--division", expected="open or closed")
    report, engine = read_report(bundle.path / "report.json"), EngineManifest.load(directory)
    plan = bundle.plan(target)
    task = report.accuracy.task if report.accuracy else None
    nodes = plan.counts()
    if options.division == "closed" and not options.official:
        raise BadInput("holds official tasks only", where="--division closed", fix="use open, or name it with --mlperf")
    if options.division == "closed" and engine.sparse_weights:
        raise BadInput("2:4 pruning changes the weights", where="--division closed", fix="use --division open")
    request = SubmissionRequest(
        engine=directory.absolute(),
        evaluate=options.evaluate,
        out=out.absolute(),
        task=options.task or options.official or report.model.name.removesuffix(".onnx"),
        scenarios=tuple(choice(Scenario, name, "--scenario") for name in options.scenarios),
        tests=tuple(options.tests),
        division=options.division,
        submitter=options.submitter,
        system=options.system,
        system_type=options.system_type,
        duration_s=options.duration,
        latency_bound_ms=options.server_latency_ms,
        target_qps=options.qps,
        reference=task.fp32 if task else None,
        official=options.official,
        weights=weights_of(engine, report.model.name, nodes, plan.notes),
        calibration=report.calibration if nodes.get("int8") else {},
        say=say,
    )
    return write_submission(request), check_submission(out)


def render_outcome(outcome: SubmissionOutcome, console: Console) -> None:
    """Each scenario's result, metric and compliance."""
    from rich.text import Text

    console.print(Text(UNVERIFIED, "bold yellow"))
    for found in outcome.scenarios:
        run = found.performance
        value = "no value" if run.value is None else f"{significant(run.value, 4)} {run.unit}"
        verdict = "VALID" if run.valid else f"INVALID ({'; '.join(run.reasons)})"
        console.print(f"{found.scenario.value}: {verdict}  {run.metric} {value}", markup=False, highlight=False)
        target = "" if found.target is None else f", target {found.target:.4f} {'met' if found.accurate else 'MISSED'}"
        same = found.score == outcome.direct_score
        direct = "equal to direct evaluation" if same else f"{outcome.direct_score:.6f} by direct evaluation"
        line = f"  {found.metric} {found.score:.6f} over LoadGen's log, {direct}{target}"
        console.print(line, markup=False, highlight=False)
        for test, passed in found.compliance.items():
            console.print(f"  {test}: {'passed' if passed else 'NOT passed'}", markup=False, highlight=False)
    console.print(f"folder {outcome.root}", markup=False, highlight=False)


def render_check(checked: CheckedFolder, console: Console) -> None:
    """The findings, errors first."""
    from rich.text import Text

    for finding in sorted(checked.findings, key=lambda finding: finding.level):
        style = "red" if finding.level == "error" else "yellow"
        console.print(Text(f"{finding.level} {finding.check}: {finding.where} {finding.what}", style))
    warnings = len(checked.findings) - len(checked.errors)
    verdict = "passed" if checked.passed else "NOT passed"
    console.print(
        f"structural checks {verdict}: {checked.scenarios} scenarios, {len(checked.errors)} errors, "
        f"{warnings} warnings",
        markup=False,
        highlight=False,
    )
