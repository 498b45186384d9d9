"""What the report says of the accuracy budget and of the search behind it, and the plans of the points it found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from benchmarks.accuracy.confidence import LEVEL
from benchmarks.report.budget import BudgetSummary, PrecisionSearch, Verdict
from engines.targets.target import CPU
from graphs.files import write_json
from optimizer.bundle import PLANS
from optimizer.quantization.codes.scheme import TENSORRT
from optimizer.search.record import SearchRecord
from optimizer.stages.forms.accuracy_check import AccuracyCheck
from optimizer.stages.forms.typed_forms import TypedForms


def budget_summary(check: AccuracyCheck, max_drop: float) -> BudgetSummary:
    """The verdict on a form, where a budget was given."""
    verdict: Verdict = "missed" if not check.ok else "surely" if check.surely(max_drop) else "on_samples"
    bound = check.bound
    return BudgetSummary(
        verdict,
        check.drop,
        bound.upper if bound is not None else None,
        bound.level if bound is not None else LEVEL,
        bound.samples if bound is not None else check.accuracy.samples,
        bound.looks if bound is not None else 1,
        _how(check, max_drop),
    )


def _how(check: AccuracyCheck, max_drop: float) -> str:
    bound = check.bound
    stand_in = "" if check.task is not None else "of the outputs' cosine, which stands in for a metric; "
    if bound is None:
        return f"{stand_in}no bound: {check.unsure}" if check.unsure else stand_in.removesuffix("; ")
    looks = f", allowing for one of {bound.looks} forms chosen by them" if bound.looks > 1 else ""
    few = "; too few samples to tell" if bound.upper > max_drop and bound.least > max_drop else ""
    return f"{stand_in}{bound.how}, {bound.samples:,} samples{looks}{few}"


def searches(forms: TypedForms) -> dict[str, SearchRecord]:
    """By the graph that was searched for."""
    found = {TENSORRT.name: forms.typed, CPU.name: forms.int8}
    return {name: form.search for name, form in found.items() if form is not None and form.search is not None}


def search_summaries(forms: TypedForms) -> dict[str, PrecisionSearch]:
    """The same as the report has it."""
    return {name: _summary(name, record) for name, record in searches(forms).items()}


def write_plans(forms: TypedForms, bundle: Path) -> None:
    """A plan for every point of a search that no other beats: ``plans/tensorrt-01.json``, for ``--plan``."""
    for name, record in searches(forms).items():
        for file, plan in zip(_files(name, record), record.plans, strict=True):
            if plan is not None:
                (bundle / PLANS).mkdir(exist_ok=True)
                write_json(bundle / file, plan)


def _summary(name: str, record: SearchRecord) -> PrecisionSearch:
    """``record.told`` with the files of its plans."""
    rows = zip(record.told.points, _files(name, record), record.plans, strict=True)
    return replace(record.told, points=[replace(point, plan=file if plan else "") for point, file, plan in rows])


def _files(name: str, record: SearchRecord) -> list[str]:
    return [f"{PLANS}/{name}-{number:02}.json" for number in range(1, len(record.plans) + 1)]
