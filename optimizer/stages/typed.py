"""Typing the graph: the forms TensorRT and the CPU run, each proved against the model as given.

``model.onnx`` is what TensorRT builds from: INT8 Q/DQ, FP16 for the rest. The CPU engine has a Q/DQ form of its own.
Where a form is over the accuracy budget, the nodes that hurt most are kept in high precision and it is typed again:
the only loop of the pipeline, bounded by ``ROUNDS``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import onnx_ir as ir
from calibration.ranges import choose_ranges

from benchmarks.macs import count_macs, int8_mac_share
from calibration.collect import collect
from calibration.source import batchable
from calibration.table import CalibrationTable
from engines.files import write_json
from engines.target import Backend
from optimizer.events import Events, Progress
from optimizer.passes.sparsity import prune_two_four
from optimizer.precision import NodePrecision, PrecisionPlan
from optimizer.quantization.points import Form as QdqForm
from optimizer.quantization.quantize import QuantizedModel, QuantizeSettings, quantize
from optimizer.saving import save_model
from optimizer.settings import Precision, Sparsity
from optimizer.stages.high_precision import HIGH_DTYPE, type_rest
from optimizer.stages.proof import Form, Proof, prove

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optimizer.bundle import Workspace
    from optimizer.pipeline import Job
    from optimizer.stages.chain import Cleaned

CORRECTION_SAMPLES = 16


@dataclass(frozen=True)
class TypedForms:
    """Where each form is, its plan and its proof. ``cpu`` is None where no INT8 form for the CPU was made."""

    typed: Path
    cpu: Path | None
    plan: PrecisionPlan
    int8_mac_share: float
    sparse: bool
    proofs: dict[str, Proof]
    calibration: dict[str, str] = field(default_factory=dict)


def type_and_prove(job: Job, cleaned: Cleaned, workspace: Workspace, events: Events) -> TypedForms:
    """Make every form, prove it, and write ``model.onnx``, ``precision.json`` and ``calibration.json``."""
    return _Typing(job, cleaned, workspace, events).run()


class _Typing:
    def __init__(self, job: Job, cleaned: Cleaned, workspace: Workspace, events: Events) -> None:
        self._job, self._cleaned, self._workspace, self._events = job, cleaned, workspace, events
        self._settings = job.settings
        self._float = ir.load(cleaned.path)
        self._costs = {name: cost.macs for name, cost in count_macs(self._float, cleaned.sample_shapes).items()}
        self._notes: list[str] = list(cleaned.notes)
        self._tables: list[CalibrationTable] = []

    def run(self) -> TypedForms:
        typed_path = self._workspace.path / "model.onnx"
        sparse = self._settings.sparsity is Sparsity.TWO_FOUR
        if sparse:
            self._notes += prune_two_four(self._float).notes
        plan, share = self._typed_form(typed_path)
        plan = PrecisionPlan(plan.nodes, [*self._notes, *plan.notes])
        cpu_path = self._cpu_form() if self._wants_cpu() else None
        proofs = self._prove(typed_path, cpu_path)
        write_json(self._workspace.path / "precision.json", plan)
        return TypedForms(typed_path, cpu_path, plan, share, sparse, proofs, self._save_table())

    def _typed_form(self, path: Path) -> tuple[PrecisionPlan, float]:
        """``model.onnx``: quantized where asked, the rest in the high precision of the targets."""
        model, plan, table = self._float.clone(), self._float_plan(), None
        if self._settings.precision.quantized:
            quantized = self._quantize(QdqForm.TENSORRT)
            model, plan, table = quantized.model, quantized.plan, quantized.table
        plan = type_rest(model, plan, self._settings.precision, table)
        save_model(model, path)
        share = int8_mac_share(ir.load(path), self._cleaned.sample_shapes)
        return plan, share

    def _cpu_form(self) -> Path | None:
        quantized = self._quantize(QdqForm.ONNXRUNTIME)
        if not quantized.placement.quantizes:
            return None
        path = self._workspace.work / "cpu.onnx"
        save_model(quantized.model, path)
        return path

    def _wants_cpu(self) -> bool:
        on_cpu = any(target.backend is Backend.ONNXRUNTIME for target in self._job.targets)
        return on_cpu and self._settings.precision in (Precision.INT8, Precision.AUTO)

    def _quantize(self, form: QdqForm) -> QuantizedModel:
        samples = list(islice(self._job.inputs.calibration.samples(), CORRECTION_SAMPLES))
        quantized = quantize(self._float, samples, self._calibrate, QuantizeSettings(form=form, costs=self._costs))
        self._notes += [note for note in quantized.notes if note not in self._notes]
        return quantized

    def _calibrate(self, model: ir.Model, tensors: Sequence[str]) -> CalibrationTable:
        """One streaming pass over the calibration samples: the ranges of ``tensors`` of ``model``."""
        inputs = self._job.inputs
        total = len(inputs.calibration)

        def show(done: int) -> None:
            self._events.emit(Progress("type", done, total, "calibration samples"))

        statistics = collect(
            model,
            tensors,
            inputs.calibration.samples(),
            joinable=batchable(inputs.calibration.specs),
            on_progress=show,
        )
        table = choose_ranges(
            statistics,
            self._settings.calibration,
            model_digest=self._job.imported.digest,
            data_digest=inputs.digest,
            calibrated=inputs.calibrated,
        )
        self._tables.append(table)
        return table

    def _save_table(self) -> dict[str, str]:
        """``calibration.json`` holds the ranges of every form; the first table made wins where two know a tensor."""
        if not self._tables:
            return {}
        first = self._tables[0]
        tensors = {name: found for table in reversed(self._tables) for name, found in table.tensors.items()}
        merged = CalibrationTable(
            tensors, first.method, first.samples, first.calibrated, first.model_digest, first.data_digest
        )
        merged.save(self._workspace.path / "calibration.json")
        return {
            "method": first.method,
            "samples": str(first.samples),
            "tensors": str(len(tensors)),
            "data": self._job.inputs.calibration.description,
        }

    def _float_plan(self) -> PrecisionPlan:
        dtype = HIGH_DTYPE[self._settings.precision]
        reason = f"asked for with --precision {self._settings.precision.value}"
        return PrecisionPlan(
            {
                str(node.name): NodePrecision(dtype, reason, node.op_type, self._costs.get(str(node.name), 0))
                for node in self._float.graph
            }
        )

    def _prove(self, typed: Path, cpu: Path | None) -> dict[str, Proof]:
        forms = {"typed": Form(typed, simulated=True)}
        if cpu is not None:
            forms["cpu"] = Form(cpu, simulated=False)
        job = self._job
        return prove(job.imported.path, forms, job.inputs.held_back, self._settings.evaluate, self._settings.max_drop)
