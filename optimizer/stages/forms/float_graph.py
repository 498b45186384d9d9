"""The float graph that every form is made of, and what is known of it: loaded once, and only where a form is made."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import onnx_ir as ir

from calibration.source import batches
from engines.engine import Feed
from graphs.reading.macs import count_macs
from optimizer.precision import Dtype, PrecisionPlan
from optimizer.prequantized.floats import WithoutQuantization
from optimizer.quantization.observing.calibrating import Known
from optimizer.sparsity.eligible import survey
from optimizer.sparsity.record import NodeSparsity, recorded
from optimizer.stages.forms.sparse import SparseGraph
from optimizer.stages.job import Cleaned, Job
from optimizer.typed.graph import plan_in


class FloatGraph:
    """The cleaned graph, pruned where that was asked for. Of a model that came quantized, with a range for every
    activation it quantizes, the float model behind it, in ``model``.
    """

    def __init__(self, job: Job, cleaned: Cleaned, sparse: SparseGraph | None = None) -> None:
        self._job, self._cleaned, self._sparse = job, cleaned, sparse
        self.known = Known()

    @cached_property
    def _float(self) -> tuple[ir.Model, list[str]]:
        """The model, and what was said of the quantization it came with, where that is taken out."""
        model = ir.load(self._sparse.path if self._sparse is not None else self._cleaned.path)
        return model, self._job.left_out(WithoutQuantization().apply(model).notes) if self.came_quantized else []

    @property
    def came_quantized(self) -> bool:
        """Whether the model says itself in which ranges its activations are quantized."""
        found = self._job.imported.quantization
        return found is not None and found.static

    @cached_property
    def given(self) -> ir.Model | None:
        """The cleaned graph with its own quantization, where that is kept; not to be changed."""
        return ir.load(self._cleaned.path) if self._job.keeps_quantization else None

    @property
    def model(self) -> ir.Model:
        """Not to be changed: forms are made of copies."""
        return self._float[0]

    @cached_property
    def sparsity(self) -> dict[str, NodeSparsity]:
        """What is known of the nodes that TensorRT has sparse tactics for; where nobody asked for 2:4, of those alone
        that are so as they come.
        """
        if self._sparse is not None:
            return self._sparse.nodes
        given = [weight for weight in survey(self.model) if weight.given]
        return {name: node for weight in given for name, node in recorded(weight).items()}

    @cached_property
    def op_types(self) -> dict[str, str]:
        """What each node is, by name, those in branches and bodies included."""
        return {str(node.name): node.op_type for node in self.model.graph.all_nodes()}

    @property
    def notes(self) -> list[str]:
        """What was done to it, by cleaning, by taking quantization out and by pruning."""
        pruned = self._sparse.notes if self._sparse is not None else ()
        return [*self._cleaned.notes, *self._float[1], *pruned]

    @cached_property
    def costs(self) -> dict[str, int]:
        """Multiply-accumulates per sample of the nodes that have any."""
        costs = count_macs(self.model, self._cleaned.sample_shapes)
        return {name: cost.macs for name, cost in costs.items() if cost.macs}

    def joined(self, size: int) -> Iterator[Feed]:
        """The calibration samples, up to ``size`` of them in one feed."""
        calibration = self._job.inputs.calibration
        return batches(calibration.samples(), size, calibration.specs)

    def plan(self, dtype: Dtype, reason: str) -> PrecisionPlan:
        """Every node in ``dtype``."""
        return plan_in(self.model, dtype, reason, self.costs)
