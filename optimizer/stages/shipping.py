"""From forms to the bundle's files: ``model.onnx`` and its plan and ranges, and those of the CPU's engine beside it.

``precision.json`` and ``calibration.json`` at the top describe ``model.onnx``; ``engines/cpu`` holds those of the graph
that engine runs. In a job for the CPU alone both are the same graph.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from calibration.table import CalibrationTable
from engines.targets.target import CPU
from graphs.files import write_json
from graphs.model_files import external_files, place_model
from optimizer.bundle import MODEL, PLAN, TABLE
from optimizer.precision import Dtype, PrecisionPlan
from optimizer.stages.cpu import CpuChoice
from optimizer.stages.forms import CPU_FP32, TypedForm, TypedForms


def ship_typed(forms: TypedForms, bundle: Path) -> TypedForms:
    """Move the typed graph, where there is one, to the top of the bundle; returns ``forms`` with its new place."""
    if forms.typed is None:
        return forms
    source = forms.typed.path
    for name in ("", *external_files(source)):
        (source.parent / (name or source.name)).replace(bundle / (name or MODEL))
    _describe(bundle, forms.typed.plan, forms.typed.table)
    return replace(forms, typed=replace(forms.typed, path=bundle / MODEL))


def ship_cpu(forms: TypedForms, choice: CpuChoice, bundle: Path) -> None:
    """Describe the CPU's engine; where there is no other form, its graph is ``model.onnx`` too. The ranges of an INT8
    form that was measured and not shipped are kept at the top: they are what calibration has found.
    """
    form = shipped_on_cpu(forms, choice)
    folder = bundle / "engines" / CPU.name
    _describe(folder, form.plan, form.table)
    if forms.typed is None:
        place_model(folder / MODEL, bundle / MODEL)
        _describe(bundle, form.plan, forms.table)


def shipped_on_cpu(forms: TypedForms, choice: CpuChoice) -> TypedForm:
    """The form of the CPU's engine; where that is FP32 instead of an INT8 form, its plan says why."""
    form = forms.on_cpu()[choice.form]
    if choice.form != CPU_FP32 or forms.int8 is None:
        return form
    nodes = {name: replace(node, dtype=Dtype.FP32, reason=choice.why) for name, node in form.plan.nodes.items()}
    return replace(form, plan=PrecisionPlan(nodes, form.plan.notes))


def _describe(folder: Path, plan: PrecisionPlan, table: CalibrationTable | None) -> None:
    write_json(folder / PLAN, plan)
    if table is not None:
        table.save(folder / TABLE)
