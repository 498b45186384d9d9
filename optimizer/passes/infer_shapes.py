"""Shape and type inference with symbolic dimensions; weights are not copied."""

from __future__ import annotations

import onnx_ir as ir
import onnx_ir.passes.common as common

from optimizer.passes.base import PassResult
from optimizer.passes.half_types import deals_in_containers


def infer_shapes(model: ir.Model) -> None:
    """Infer types and shapes, in place; what is not known stays so."""
    common.ShapeInferencePass(check_type=False, strict_mode=False, data_prop=True)(model)
    _forget_containers(model)


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


def _forget_containers(model: ir.Model) -> None:
    """The pass notes the type of a sequence's elements as that of the sequence; no type is better than a wrong one."""
    opset = model.opset_imports.get("", 1)
    for graph in model.graphs():
        for node in graph:
            if (
                node.domain in ("", "ai.onnx")
                and "Sequence" in node.op_type
                and deals_in_containers(node.op_type, opset)
            ):
                for value in node.outputs:
                    if node.op_type not in ("SequenceAt", "SequenceLength", "ConcatFromSequence"):
                        value.type = value.shape = None
