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
from graphs.storage.model_files import external_files, place_model
from optimizer.bundle import CHOICES, MODEL, PLAN, TABLE
from optimizer.precision import Dtype, PrecisionPlan
from optimizer.quantization.choices import Choices
from optimizer.stages.engines.record import EngineRecord
from optimizer.stages.forms.typed_forms import CPU_FP32, TypedForm, TypedForms


def describe_cpu(forms: TypedForms, choice: EngineRecord, bundle: Path) -> None:
    """Plan and ranges of the CPU's engine, beside it."""
    describe_engine(bundle / "engines" / CPU.name, shipped_on_cpu(forms, choice))


def describe_engine(folder: Path, form: TypedForm) -> None:
    """Plan and ranges of an engine that runs another graph than ``model.onnx``, in its folder."""
    _describe(folder, form.plan, form.table, form.choices)


def ship(forms: TypedForms, choice: EngineRecord | None, bundle: Path) -> None:
    """Leave ``model.onnx`` at the top of the bundle: the typed graph, or, where there is no other form, that of the
    CPU's engine. The ranges of an INT8 form that was measured and not shipped are kept: they are what calibration has
    found. The typed graph is moved, for a large one is gigabytes: nothing but publishing may follow.
    """
    if forms.typed is not None:
        source = forms.typed.path
        for name in external_files(source):
            (source.parent / name).replace(bundle / name)
        source.replace(bundle / MODEL)
        _describe(bundle, forms.typed.plan, forms.typed.table, forms.typed.choices)
    elif choice is not None:
        place_model(bundle / "engines" / CPU.name / MODEL, bundle / MODEL)
        tried = forms.int8.choices if forms.int8 is not None else None
        _describe(bundle, shipped_on_cpu(forms, choice).plan, forms.table, tried)


def shipped_on_cpu(forms: TypedForms, choice: EngineRecord) -> TypedForm:
    """The form of the CPU's engine, with the time its nodes took; where it is FP32 instead of an INT8 form, its plan
    says why.
    """
    form = forms.on_cpu()[choice.form]
    times = {name: choice.node_times.get(name) for name in form.plan.nodes}
    nodes = {name: replace(node, milliseconds=times[name]) for name, node in form.plan.nodes.items()}
    if choice.form == CPU_FP32 and forms.int8 is not None:
        nodes = {name: replace(node, dtype=Dtype.FP32, reason=choice.why) for name, node in nodes.items()}
    return replace(form, plan=replace(form.plan, nodes=nodes))


def _describe(folder: Path, plan: PrecisionPlan, table: CalibrationTable | None, choices: Choices | None) -> None:
    write_json(folder / PLAN, plan)
    if choices is not None:
        write_json(folder / CHOICES, choices)
    if table is not None:
        table.save(folder / TABLE)
