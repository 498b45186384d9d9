"""Shape and type inference with symbolic dimensions; weights are not copied."""

from __future__ import annotations

import onnx_ir as ir

from graphs.reading.shapes import infer_shapes
from optimizer.passes.base import PassResult


class InferShapes:
    """Fills in what onnx.shape_inference knows, subgraphs included; unknown dimensions stay unknown."""

    name = "infer shapes"

    def apply(self, model: ir.Model) -> PassResult:
        before = _unknown(model)
        infer_shapes(model)
        unknown = _unknown(model)
        note = (f"{unknown} values have no inferred type or shape",) if unknown else ()
        return PassResult(before - unknown, note)


def _unknown(model: ir.Model) -> int:
    values = (value for graph in model.graphs() for node in graph for value in node.outputs)
    return sum(value.shape is None or value.dtype is None for value in values if value.name)
