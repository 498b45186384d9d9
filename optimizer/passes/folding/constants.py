"""Evaluate what does not depend on the inputs, within limits that keep large weights where they are."""

from __future__ import annotations

import onnx_ir as ir
import onnx_ir.passes.common as common

from graphs.reading.folding import fold
from optimizer.passes.base import PassResult
from optimizer.passes.folding.several_outputs import LARGEST, fold_several_outputs

INPUT_LIMIT = LARGEST
"""Elements of the largest operand folded: weights that are computed (standardised, split, scaled) become constants, as
quantization needs them; a transposed weight is folded whatever its size. What would make the file larger is not."""
OUTPUT_LIMIT = 1 << 18
"""Elements up to which a constant is folded: larger results would only make the file larger. Chosen."""


class FoldConstants:
    """onnxscript's folder (shapes, constant If, transposed weights), nodes of several outputs; then Constant nodes
    become initializers."""

    name = "fold constants"

    def apply(self, model: ir.Model) -> PassResult:
        before = sum(len(graph) for graph in model.graphs())
        fold(model, INPUT_LIMIT, OUTPUT_LIMIT)
        while fold_several_outputs(model):
            fold(model, INPUT_LIMIT, OUTPUT_LIMIT)
        _forget_dead_branches(model)
        common.RemoveUnusedNodesPass()(model)
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
        common.LiftSubgraphInitializersToMainGraphPass()(model)
        folded = before - sum(len(graph) for graph in model.graphs())
        return PassResult(folded, (f"{folded} constant nodes folded",) if folded else ())


def _forget_dead_branches(model: ir.Model) -> None:
    """Detach the nodes of If branches that were folded away: they would still count as users of outer values."""
    live = set(model.graphs())
    for graph in live:
        values = [*graph.inputs, *graph.initializers.values(), *(value for node in graph for value in node.outputs)]
        for value in values:
            for user, index in tuple(value.uses()):
                if user.graph not in live:
                    user.replace_input_with(index, None)
