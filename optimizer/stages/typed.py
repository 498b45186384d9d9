"""Typing the graph: the forms that the asked targets run, each proved against the model as given.

``model.onnx`` is what TensorRT builds from: INT8 Q/DQ, FP16 for the rest. The CPU engine has a Q/DQ form of its own.
Only forms that an asked target runs are made. Where one is over the accuracy budget, the nodes that hurt most are kept
in high precision and it is typed again (``budget.within_budget``); what took long is not done again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import onnx_ir as ir

from calibration.source import batches
from calibration.table import CalibrationTable
from engines.engine import Feed
from graphs.lint import lint
from graphs.macs import count_macs, int8_mac_share
from graphs.saving import save_model
from optimizer.events import Detail, Events, Progress
from optimizer.passes.signed_codes import SignedCodes, UnsignedCodes
from optimizer.passes.sparsity import Sparsity as PruneTwoFour
from optimizer.precision import Dtype, NodePrecision, PrecisionPlan
from optimizer.quantization.biases import keep_biases_apart
from optimizer.quantization.calibrating import Calibrator
from optimizer.quantization.corrections.catalogue import ALL, LEARNING, Correction
from optimizer.quantization.corrections.fallback import Allowance
from optimizer.quantization.insertion_points import Form as QdqForm
from optimizer.quantization.quantize import Prepared, QuantizedModel, prepare
from optimizer.quantization.settings import QuantizeSettings
from optimizer.settings import Precision, Sparsity
from optimizer.stages.budget import within_budget
from optimizer.stages.forms import TypedForm, TypedForms, needs_cpu, needs_typed
from optimizer.stages.high_precision import HighPrecision
from optimizer.stages.labels import with_given_int8
from optimizer.stages.proof import Form, Proof, Prover

if TYPE_CHECKING:
    from optimizer.bundle import Workspace
    from optimizer.stages.job import Cleaned, Job

AUTO_METHODS = ("mse", "percentile", "minmax")
"""What ``--calibration auto`` chooses from, by output error, beside a search that starts from the first."""


def type_and_prove(job: Job, cleaned: Cleaned, workspace: Workspace, events: Events) -> TypedForms:
    """Make every form that a target of ``job`` runs, and prove it."""
    settings = job.settings
    with Prover(cleaned.reference, job.inputs.held_back, settings.evaluate, settings.max_drop) as prover:
        return _Typing(job, cleaned, workspace, events, prover).run()


class _Typing:
    def __init__(self, job: Job, cleaned: Cleaned, workspace: Workspace, events: Events, prover: Prover) -> None:
        self._job, self._cleaned, self._events = job, cleaned, events
        self._prover = prover
        self._folder = workspace.work / "forms"
        self._made = 0
        self._settings = job.settings
        self._float = ir.load(cleaned.path)
        costs = count_macs(self._float, cleaned.sample_shapes)
        self._costs = {name: cost.macs for name, cost in costs.items() if cost.macs}
        self._notes: list[str] = list(cleaned.notes)
        self._high_precision = HighPrecision(self._float, self._settings.precision, self._joined, self._costs)

    def run(self) -> TypedForms:
        if self._settings.sparsity is Sparsity.TWO_FOUR:
            self._notes += PruneTwoFour().apply(self._float).notes
        typed = int8 = fp32 = None
        if needs_cpu(self._job.targets):
            int8, why_not = self._cpu_form() if self._settings.precision.quantized else (None, None)
            fp32 = self._cpu_float(why_not)
        if needs_typed(self._job.targets, self._settings.precision):
            typed = self._typed()
            if typed.table is not None and (differs := self._prover.plain_difference(typed.path)):
                self._events.warn("type", differs)
        return TypedForms(typed, int8, fp32, sparse=self._settings.sparsity is Sparsity.TWO_FOUR)

    def _typed(self) -> TypedForm:
        """TensorRT's form: quantized where asked, and within budget where ``auto`` leaves a choice."""
        if not self._settings.precision.quantized:
            return self._typed_form(None)
        form = within_budget(self._prepared(QdqForm.TENSORRT), self._typed_form, self._say)
        if not form.proof.ok and self._settings.precision is Precision.AUTO:
            return self._typed_form(None)
        return form

    def _typed_form(self, quantized: QuantizedModel | None) -> TypedForm:
        """``quantized`` (the float graph where None), the rest in the high precision of the targets; and its proof."""
        reason = f"asked for with --precision {self._settings.precision.value}"
        model, plan, table = self._float.clone(), self._float_plan(self._high_precision.dtype, reason), None
        if quantized is not None:
            model, plan, table = quantized.model.clone(), quantized.plan, quantized.table
            plan = PrecisionPlan(plan.nodes, list(quantized.notes))
        model, plan = self._high_precision.type(model, plan, table)
        SignedCodes().apply(model)
        keep_biases_apart(model)
        path = self._saved(model)
        for finding in lint(ir.load(path)):
            self._events.warn("type", f"{finding.where}: {finding.message} ({finding.rule.value})")
        return self._proved(path, plan, table, simulated=True)

    def _cpu_form(self) -> tuple[TypedForm | None, PrecisionPlan | None]:
        """The CPU's INT8 form; None, and the plan that says why, where nothing can be quantized."""
        prepared = self._prepared(QdqForm.ONNXRUNTIME)
        if not prepared.quantizes:
            return None, prepared.quantized(Allowance()).plan
        return within_budget(prepared, self._cpu_typed, self._say), None

    def _cpu_typed(self, quantized: QuantizedModel) -> TypedForm:
        UnsignedCodes().apply(quantized.model)
        plan = PrecisionPlan(quantized.plan.nodes, list(quantized.notes))
        return self._proved(self._saved(quantized.model), plan, quantized.table, simulated=False)

    def _cpu_float(self, why_not: PrecisionPlan | None) -> TypedForm:
        """The cleaned model, which the CPU's FP32 engine runs; data of its own that is int8 unsigned. ``why_not`` says
        of each node why it is not in INT8.
        """
        model, path = ir.load(self._cleaned.path), self._cleaned.path
        if UnsignedCodes().apply(model).modified:
            path = self._saved(model)
        asked = self._settings.precision
        reason = "asked for with --precision fp32" if asked is Precision.FP32 else "the CPU's engine computes in FP32"
        plan = self._float_plan(Dtype.FP32, reason)
        if why_not is not None:
            reasons = {name: node.reason for name, node in why_not.nodes.items()}
            nodes = {name: replace(node, reason=reasons.get(name, reason)) for name, node in plan.nodes.items()}
            plan = PrecisionPlan(nodes, [*plan.notes, *why_not.notes])
        self._show("proving the float graph against the model as given")
        alone = not needs_typed(self._job.targets, asked)
        proof = self._prover.prove_float(path, with_task=alone)  # its metric is the report's only where nothing else is
        return self._described(path, plan, None, proof)

    def _proved(self, path: Path, plan: PrecisionPlan, table: CalibrationTable | None, *, simulated: bool) -> TypedForm:
        self._show(f"proving {'model.onnx' if simulated else 'the INT8 form for this CPU'} against FP32")
        return self._described(path, plan, table, self._prover.prove(Form(path, simulated)))

    def _described(self, path: Path, plan: PrecisionPlan, table: CalibrationTable | None, proof: Proof) -> TypedForm:
        written = ir.load(path)
        plan = with_given_int8(plan, written)
        plan = PrecisionPlan(plan.nodes, list(dict.fromkeys([*self._notes, *plan.notes])))
        return TypedForm(path, plan, int8_mac_share(written, self._cleaned.sample_shapes), proof, table)

    def _saved(self, model: ir.Model) -> Path:
        """``model`` in a folder of its own, under the name it has in a bundle."""
        path = self._folder / str(self._made) / "model.onnx"
        self._made += 1
        path.parent.mkdir(parents=True, exist_ok=True)
        save_model(model, path)
        return path

    def _show(self, step: str) -> None:
        self._events.emit(Detail("type", step))

    def _say(self, text: str) -> None:
        self._events.note("type", text)

    def _prepared(self, form: QdqForm) -> Prepared:
        asked = ALL - {Correction(name) for name in self._settings.without}
        settings = QuantizeSettings(
            form=form,
            corrections=asked if self._job.inputs.calibrated else asked - LEARNING,
            costs=self._costs,
            seed=self._settings.seed,
        )
        name = {QdqForm.TENSORRT: "TensorRT", QdqForm.ONNXRUNTIME: "this CPU"}[form]
        return prepare(
            self._float, self._calibrator(), settings, on_step=lambda step: self._show(f"INT8 for {name}: {step}")
        )

    def _joined(self, size: int) -> Iterator[Feed]:
        calibration = self._job.inputs.calibration
        return batches(calibration.samples(), size, calibration.specs)

    def _calibrator(self) -> Calibrator:
        inputs, asked = self._job.inputs, self._settings.calibration
        total = len(inputs.calibration)
        return Calibrator(
            samples=inputs.calibration.samples,
            joinable=False,  # a source gives one sample per feed
            methods=AUTO_METHODS if asked == "auto" else (asked,),
            calibrated=inputs.calibrated,
            model_digest=self._job.imported.digest,
            data_digest=inputs.digest,
            on_plan=lambda plan: self._events.note(
                "type", f"a pass takes at most {plan.memory_bound / 1e6:.0f} MB more"
            ),
            on_progress=lambda done: self._events.emit(Progress("type", done, total, "calibration samples")),
        )

    def _float_plan(self, dtype: Dtype, reason: str) -> PrecisionPlan:
        return PrecisionPlan(
            {
                str(node.name): NodePrecision(dtype, reason, node.op_type, self._costs.get(str(node.name), 0))
                for node in self._float.graph
            }
        )
