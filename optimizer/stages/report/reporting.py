"""From what the stages measured or predicted to the report's dataclasses. Nothing is computed here."""

from __future__ import annotations

import resource

from benchmarks.measurement import Verdict
from benchmarks.report.model import (
    AccuracySummary,
    LoadgenSummary,
    PrecisionSummary,
    Report,
    Status,
)
from optimizer.settings.options import Precision
from optimizer.stages.forms.typed_forms import TypedForm
from optimizer.stages.report.findings import Findings
from optimizer.stages.report.plaster_figures import plaster_of
from optimizer.stages.report.searched import budget_summary, search_summaries
from optimizer.stages.report.target_rows import MEASURED, fidelity, simulated_how, target_row


def assemble(found: Findings) -> Report:
    """The report of a run."""
    targets = {target.name: target_row(target, found) for target in (*found.targets, *found.baselines)}
    shipped, typed = _shipped_forms(found), found.forms.typed
    over_budget = [reason for form in shipped for reason in form.check.reasons]
    used = {form.path for form in shipped}
    unused = typed.check.reasons if typed is not None and typed.path not in used else []
    missing = [f"{name}: {target.reason}" for name, target in targets.items() if target.status == "skipped"]
    missing += [f"{name} does not run here: {reason}" for name, reason in found.not_run.items()]
    status: Status = "over_budget" if over_budget else "partial" if missing else "ok"
    return Report(
        status=status,
        verdict=Verdict(
            status == "ok", (*over_budget, *missing, *(f"model.onnx, in no engine: {why}" for why in unused))
        ),
        calibrated=found.calibrated,
        model=found.model,
        precision=PrecisionSummary.of(
            found.requested,
            [node.dtype.value for node in found.main.plan.nodes.values()],
            found.main.int8_mac_share,
            "2:4" if found.forms.pruned else "none",
            found.main.followed,
            found.main.plan.quantized_shares,
            sum(bool(node.sparsity) for node in found.main.plan.nodes.values()),
        ),
        accuracy=_accuracy(found),
        targets=targets,
        loadgen={
            name: {scenario: LoadgenSummary.of(result, result.log_dir) for scenario, result in runs.items()}
            for name, runs in found.loadgen.items()
        },
        plaster=plaster_of(found, targets),
        timings={stage: round(seconds, 3) for stage, seconds in found.timings.items()},
        peak_rss_mb=round(peak_rss_mb(), 1),
        created=found.created,
        command=found.command,
        calibration=dict(found.calibration),
        machine=dict(found.machine),
        versions=dict(found.versions),
        kept=list(found.kept),
        search=search_summaries(found.forms),
        update=found.update,
        warnings=[*_said_nowhere_else(found), *_nothing_quantized(found)],
    )


def _said_nowhere_else(found: Findings) -> list[str]:
    """Warnings without those on a target that has no engine: its reason stands in the verdict and in its row."""
    told = {build.warning for build in found.builds.values()}
    return [warning for warning in found.warnings if warning not in told]


def _nothing_quantized(found: Findings) -> list[str]:
    """A warning where a quantized precision was asked for and no node came out in it, with the reason of most
    multiply-accumulates. A CPU that ships FP32 although there is a quantized form says why in its row.
    """
    plan = (found.forms.typed or found.forms.int8 or found.main).plan
    asked = Precision(found.requested)
    if found.update is not None and found.forms.typed is None:  # the CPU's engine is float as it was: its row says why
        return []
    if asked is Precision.AUTO or not asked.quantized or any(node.dtype.quantized for node in plan.nodes.values()):
        return []
    called = asked.value.upper()
    products = {name: node for name, node in plan.nodes.items() if node.macs}
    if not products:
        return [f"nothing could be quantized to {called}: the model has no convolution and no matrix product"]
    name, heaviest = max(products.items(), key=lambda item: item[1].macs)
    why = f"{heaviest.op_type} {name!r}, the heaviest, stays {heaviest.dtype.value}: {heaviest.reason}"
    return [f"nothing could be quantized to {called}, none of {len(products)} convolutions and matrix products; {why}"]


def peak_rss_mb() -> float:
    """Largest resident size this process has had, in MB (10^6 bytes); Linux counts it in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def _shipped_forms(found: Findings) -> list[TypedForm]:
    """What engines were made of: the typed graph where one was built of it for another machine, and the form of every
    engine that runs here, judged by what was measured on it.
    """
    elsewhere = any(found.builds[target.name].engine for target in found.targets if target.name not in found.shipped)
    typed = [found.forms.typed] if elsewhere and found.forms.typed is not None else []
    asked = [target.name for target in found.targets]
    return [*typed, *(form for name, form in found.shipped.items() if name in asked)]


def _accuracy(found: Findings) -> AccuracySummary:
    check = found.main.check
    measured = any(form is found.main for form in found.shipped.values())
    how = MEASURED if measured else simulated_how(found.requested)
    return AccuracySummary(
        check.accuracy.samples,
        fidelity(check.accuracy),
        check.task,
        found.max_drop,
        found.held_back,
        how,
        budget_summary(check, found.max_drop) if found.budget_given else None,
    )
