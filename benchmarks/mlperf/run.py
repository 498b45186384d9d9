"""One LoadGen run on a benchmark task, judged: valid or not, accurate enough or not, closed or open."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.loadgen.settings import LoadgenRequest, LoadgenResult, LoadgenSettings, Scenario
from benchmarks.mlperf.rules import ModelFacts, check_division
from benchmarks.mlperf.summary import WorkloadSummary
from benchmarks.task import TaskPlace
from benchmarks.workloads.evaluate import evaluate
from benchmarks.workloads.registry import find_workload
from benchmarks.workloads.targets import judge_accuracy
from benchmarks.workloads.workload import Workload
from graphs.errors import BadInput


def workload_settings(workload: Workload, settings: LoadgenSettings, *, mlperf: bool) -> LoadgenSettings:
    """``settings`` with the workload's Server bound, and the official ones with ``mlperf``. Raises ``BadInput`` for a
    scenario the task does not have.
    """
    if settings.scenario is Scenario.SERVER and workload.server_latency_ms is None:
        raise BadInput(
            f"{workload.name} has no Server scenario", where="--scenario", expected="offline or singlestream"
        )
    official = (workload.mlperf_name or workload.name) if mlperf else ""
    bound = workload.server_latency_ms or settings.latency_bound_ms
    return replace(settings, official=official, latency_bound_ms=bound)


def summarise_workload(
    request: LoadgenRequest, result: LoadgenResult, facts: ModelFacts, reference: str = ""
) -> WorkloadSummary:
    """Accuracy verdict (after an accuracy run) and division of a finished run."""
    assert request.task is not None  # whoever names no task has nothing to judge
    workload = find_workload(request.task.name)
    accuracy = None
    if result.score is not None:
        fp32 = _reference_score(request.task, reference) if reference else None
        accuracy = judge_accuracy(workload, result.score, fp32)
    samples = result.score.samples if result.score is not None else None
    division = check_division(workload, facts, request.settings, samples)
    return WorkloadSummary(workload.name, request.task.dataset, division, accuracy)


def _reference_score(place: TaskPlace, reference: str) -> float:
    source = place.find()
    with source.engine(reference) as engine:
        return evaluate(engine, source.task(engine.inputs, engine.outputs)).value
