"""How the forms that a search measures are made, and what they and their nodes cost, of each backend."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeAlias

from engines.engine import batchable
from engines.targets.target import Backend
from optimizer.events import Events
from optimizer.precision import Dtype
from optimizer.quantization.corrections.cpu_costs import felt_costs
from optimizer.quantization.prepared import Prepared, QuantizedModel
from optimizer.search.costs import Costs, cpu_costs, format_parts, gpu_costs
from optimizer.search.trades import cpu_trade, gpu_trade
from optimizer.settings.job import Settings
from optimizer.settings.options import Precision
from optimizer.stages.forms.float_graph import FloatGraph
from optimizer.stages.forms.form_files import FormFiles
from optimizer.stages.forms.search_points import PointStore
from optimizer.stages.forms.searching import BudgetSearch, Maker
from optimizer.stages.forms.typed_forms import TypedForm
from optimizer.stages.job import Cleaned, Job
from optimizer.stages.keys import calibration_key, typing_key
from optimizer.stages.runner import StageRunner
from optimizer.typed.graph import GraphTyper

TypeForm: TypeAlias = "Callable[[GraphTyper, FormFiles, QuantizedModel | None, str], TypedForm]"
"""Types a quantized graph, or the float one for the reason given, into a folder, and checks its accuracy."""


def searches(settings: Settings, prepared: Prepared) -> bool:
    """Whether a mix is searched for. Other formats than INT8 have the loop of a few steps: what a search knows of costs
    are those of leaving INT8.
    """
    return settings.searches and prepared.quantizes and prepared.settings.scheme.dtype is Dtype.INT8


def searched(
    job: Job, cleaned: Cleaned, runner: StageRunner, events: Events, stage: str, prepared: Prepared, maker: Maker
) -> TypedForm:
    """The fastest form within the budget that was given, its graph in a folder of the search's own."""
    scheme, settings = prepared.settings.scheme, job.settings
    name = f"search-{scheme.name}"
    key = typing_key(job, cleaned, name, calibration_key(job, cleaned, scheme))
    return BudgetSearch(
        prepared,
        maker,
        PointStore(runner.own_folder(name), key),
        settings.allowed_drop,
        settings.optimize_for,
        events.timings.get(f"calibrate-{scheme.name}", 0.0),
        events,
        stage,
    ).form()


def gpu_maker(
    job: Job, cleaned: Cleaned, graph: FloatGraph, prepared: Prepared, typer: GraphTyper, type_form: TypeForm
) -> Maker:
    """TensorRT's forms; with nothing in int8 they are in half precision, or in FP32 where that is not enough."""
    shapes, settings = cleaned.sample_shapes, job.settings
    gpus = [target for target in job.targets if target.backend is Backend.TENSORRT]
    reason = f"no mix with int8 is within the budget of {100 * settings.allowed_drop:.3g} %"

    def in_float(folder: Path) -> TypedForm:
        half = type_form(typer, FormFiles(folder), None, reason)
        if half.check.ok:
            return half
        exact = GraphTyper(graph.model, Precision.FP32, graph.joined, graph.costs)
        return type_form(exact, FormFiles(folder / "fp32"), None, f"{reason}, nor is FP16")

    def costs(_: Path) -> Costs:
        asked = settings.optimize_for, batchable(job.specs)
        found = gpu_costs(prepared.model, shapes, graph.costs, gpus, *asked)
        mixes = settings.precision is Precision.AUTO
        return replace(found, parts=format_parts(prepared.model, gpus)) if mixes else found

    return Maker(
        lambda quantized, folder: type_form(typer, FormFiles(folder), quantized, ""),
        in_float,
        partial(gpu_trade, shapes=shapes, targets=gpus),
        costs,
    )


def cpu_maker(
    job: Job,
    cleaned: Cleaned,
    graph: FloatGraph,
    prepared: Prepared,
    check_form: Callable[[FormFiles, QuantizedModel], TypedForm],
) -> Maker:
    """The CPU's forms with something in int8; the one with nothing is made in any case."""
    feed, wanted = next(iter(job.inputs.held_back.samples())), job.settings.optimize_for
    assert prepared.chosen is not None
    felt = felt_costs(prepared.model, prepared.chosen.placement, graph.costs)
    return Maker(
        lambda quantized, folder: check_form(FormFiles(folder), quantized),
        None,
        partial(cpu_trade, feed=feed),
        lambda int8: cpu_costs(cleaned.path, int8, feed, graph.costs, felt, wanted),
    )
