"""Typing the graph: the forms TensorRT and the CPU run, each proved against the model as given.

``model.onnx`` is what TensorRT builds from: INT8 Q/DQ, FP16 for the rest. The CPU engine has a Q/DQ form of its own.
Where a form is over the accuracy budget, the nodes that hurt most are kept in high precision and it is typed again:
the only loop of the pipeline, bounded by ``RETRIES``; what took long is not done again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import onnx_ir as ir

from calibration.source import batches
from calibration.table import CalibrationTable
from engines.engine import Feed
from engines.targets.target import Backend
from graphs.files import write_json
from graphs.lint import lint
from graphs.macs import count_macs, int8_mac_share
from graphs.saving import save_model
from optimizer.events import Detail, Events, Progress
from optimizer.passes.signed_codes import SignedCodes, UnsignedCodes
from optimizer.passes.sparsity import Sparsity as PruneTwoFour
from optimizer.precision import NodePrecision, PrecisionPlan
from optimizer.quantization.biases import keep_biases_apart
from optimizer.quantization.calibrating import Calibrator
from optimizer.quantization.corrections.catalogue import ALL, LEARNING, Correction
from optimizer.quantization.corrections.fallback import NEARLY, Allowance
from optimizer.quantization.insertion_points import Form as QdqForm
from optimizer.quantization.quantize import Prepared, QuantizedModel, prepare
from optimizer.quantization.settings import QuantizeSettings
from optimizer.settings import Precision, Sparsity
from optimizer.stages.high_precision import HIGH_DTYPE, HighPrecision
from optimizer.stages.labels import with_given_int8
from optimizer.stages.proof import Form, Proof, Prover

if TYPE_CHECKING:
    from optimizer.bundle import Workspace
    from optimizer.stages.job import Cleaned, Job

AUTO_METHODS = ("mse", "percentile", "minmax")
"""What ``--calibration auto`` chooses from, by output error, beside a search that starts from the first."""
RETRIES = (0.25, 0.5)
"""Where a form is over the accuracy budget: most of the MACs that are left out of int8, beside what rules leave out."""
BETTER = 4.0
"""By what factor the noise is to fall with each retry (6 dB), for as few MACs as that takes."""


@dataclass(frozen=True)
class TypedForms:
    """Where each form is, its plan and the proofs of "typed", "cpu" (INT8) and "fp32". ``cpu`` is None where no INT8
    form for the CPU was made; ``cpu_float`` is the form that its FP32 engine runs.
    """

    typed: Path
    cpu_float: Path
    cpu: Path | None
    plan: PrecisionPlan
    int8_mac_share: float
    sparse: bool
    proofs: dict[str, Proof]
    calibration: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Typed:
    path: Path
    plan: PrecisionPlan
    int8_mac_share: float
    proof: Proof


def type_and_prove(job: Job, cleaned: Cleaned, workspace: Workspace, events: Events) -> TypedForms:
    """Make every form, prove it, and write ``model.onnx``, ``precision.json`` and ``calibration.json``."""
    settings = job.settings
    with Prover(cleaned.reference, job.inputs.held_back, settings.evaluate, settings.max_drop) as prover:
        return _Typing(job, cleaned, workspace, events, prover).run()


class _Typing:
    def __init__(self, job: Job, cleaned: Cleaned, workspace: Workspace, events: Events, prover: Prover) -> None:
        self._job, self._cleaned, self._workspace, self._events = job, cleaned, workspace, events
        self._prover = prover
        self._settings = job.settings
        self._float = ir.load(cleaned.path)
        costs = count_macs(self._float, cleaned.sample_shapes)
        self._costs = {name: cost.macs for name, cost in costs.items() if cost.macs}
        self._notes: list[str] = list(cleaned.notes)
        self._tables: dict[QdqForm, CalibrationTable] = {}
        self._high_precision = HighPrecision(self._float, self._settings.precision, self._joined, self._costs)

    def run(self) -> TypedForms:
        if self._settings.sparsity is Sparsity.TWO_FOUR:
            self._notes += PruneTwoFour().apply(self._float).notes
        cpu_path = self._cpu_form() if self._wants_cpu() else None
        typed = self._type_within_budget()
        proofs = {"typed": typed.proof}
        if self._settings.precision.quantized and (differs := self._prover.plain_difference(typed.path)):
            self._events.warn("type", differs)
        cpu_float = self._cpu_float()
        if self._on_cpu():
            proofs["fp32"] = self._prover.prove_float(cpu_float)
        if cpu_path is not None:
            proofs["cpu"] = self._prove(Form(cpu_path, simulated=False))
        plan = PrecisionPlan(typed.plan.nodes, list(dict.fromkeys([*self._notes, *typed.plan.notes])))
        write_json(self._workspace.path / "precision.json", plan)
        return TypedForms(
            typed=typed.path,
            cpu_float=cpu_float,
            cpu=cpu_path,
            plan=plan,
            int8_mac_share=typed.int8_mac_share,
            sparse=self._settings.sparsity is Sparsity.TWO_FOUR,
            proofs=proofs,
            calibration=self._save_table(),
        )

    def _type_within_budget(self) -> _Typed:
        """Type and prove; while over budget, leave the next cheapest nodes in high precision and do it again.

        Where nothing reaches the budget, the first form that is as near as any is kept: MACs are not spent in vain.
        """
        precision = self._settings.precision
        if not precision.quantized:
            return self._typed_form(None)
        prepared, allowance = self._prepared(QdqForm.TENSORRT), Allowance()
        tried: list[tuple[QuantizedModel, _Typed]] = []
        for most in (allowance.most, *RETRIES):
            quantized = prepared.quantized(allowance)
            if not any(quantized.fallen_back == earlier.fallen_back for earlier, _ in tried):
                typed = self._typed_form(quantized)
                if typed.proof.ok:
                    return typed
                over = "; ".join(typed.proof.reasons)
                self._events.note("type", f"with {typed.int8_mac_share:.0%} of the MACs in int8: {over}")
                tried.append((quantized, typed))
            allowance = Allowance(allowance.share, target=quantized.expected / BETTER, most=most)
        if precision is Precision.AUTO:
            return self._typed_form(None)
        least = min(typed.proof.drop for _, typed in tried)
        near = (item for item in tried if item[1].proof.drop <= NEARLY * max(least, 0.0))
        kept, typed = next(near, tried[-1])
        return typed if kept is tried[-1][0] else self._typed_form(kept)

    def _typed_form(self, quantized: QuantizedModel | None) -> _Typed:
        """``model.onnx``: ``quantized`` (nothing where None), the rest in the high precision of the targets; and its
        proof.
        """
        path = self._workspace.path / "model.onnx"
        model, plan, table = self._float.clone(), self._float_plan(), None
        if quantized is not None:
            model, plan, table = quantized.model.clone(), quantized.plan, quantized.table
            plan = PrecisionPlan(plan.nodes, list(quantized.notes))
        model, plan = self._high_precision.type(model, plan, table)
        SignedCodes().apply(model)
        keep_biases_apart(model)
        save_model(model, path)
        written = ir.load(path)
        for finding in lint(written):
            self._events.warn("type", f"{finding.where}: {finding.message} ({finding.rule.value})")
        plan = with_given_int8(plan, written)
        share = int8_mac_share(written, self._cleaned.sample_shapes)
        return _Typed(path, plan, share, self._prove(Form(path, simulated=True)))

    def _prove(self, form: Form) -> Proof:
        self._show(f"proving {form.path.name} against FP32")
        return self._prover.prove(form)

    def _show(self, step: str) -> None:
        self._events.emit(Detail("type", step))

    def _cpu_form(self) -> Path | None:
        quantized = self._prepared(QdqForm.ONNXRUNTIME).quantized(Allowance())
        if not quantized.placement.quantizes:
            return None
        path = self._workspace.work / "cpu.onnx"
        UnsignedCodes().apply(quantized.model)
        save_model(quantized.model, path)
        return path

    def _cpu_float(self) -> Path:
        """The cleaned model; where it has int8 data of its own, a copy with that unsigned."""
        model = ir.load(self._cleaned.path)
        if not UnsignedCodes().apply(model).modified:
            return self._cleaned.path
        path = self._workspace.work / "cpu-float.onnx"
        save_model(model, path)
        return path

    def _on_cpu(self) -> bool:
        return any(target.backend is Backend.ONNXRUNTIME for target in self._job.targets)

    def _wants_cpu(self) -> bool:
        return self._on_cpu() and self._settings.precision in (Precision.INT8, Precision.AUTO)

    def _prepared(self, form: QdqForm) -> Prepared:
        asked = ALL - {Correction(name) for name in self._settings.without}
        settings = QuantizeSettings(
            form=form,
            corrections=asked if self._job.inputs.calibrated else asked - LEARNING,
            costs=self._costs,
            seed=self._settings.seed,
        )
        name = {QdqForm.TENSORRT: "TensorRT", QdqForm.ONNXRUNTIME: "this CPU"}[form]
        prepared = prepare(
            self._float, self._calibrator(), settings, on_step=lambda step: self._show(f"INT8 for {name}: {step}")
        )
        self._tables[form] = prepared.table
        return prepared

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

    def _save_table(self) -> dict[str, str]:
        """``calibration.json`` holds the ranges of every form; TensorRT's win where two know a tensor."""
        if not self._tables:
            return {}
        first = self._tables[QdqForm.TENSORRT]
        tensors = {name: found for table in self._tables.values() for name, found in table.tensors.items()}
        tensors |= first.tensors
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
