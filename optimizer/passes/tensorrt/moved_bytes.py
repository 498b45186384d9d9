"""Move images of bytes as floats: Transpose, Slice and their like of uint8 data, which TensorRT has for no such type.

TensorRT takes uint8 at inputs and outputs, next to a Cast, and nowhere else. Bytes are exact in every float, so that
the Cast may stand on either side of an operator that only moves values.
"""

from __future__ import annotations

import onnx_ir as ir

from graphs.reading.operators import MOVING, is_standard
from graphs.writing.edits import GraphEdits
from optimizer.passes.base import PassResult
from optimizer.passes.infer_shapes import InferShapes

_BYTES = ir.DataType.UINT8
_FLOATS = {ir.DataType.FLOAT, ir.DataType.FLOAT16}


class MoveBytesAsFloats:
    """In the main graph: behind an input whose bytes are cast once they are moved, before an output of such."""

    name = "casts of bytes beside inputs and outputs"

    def apply(self, model: ir.Model) -> PassResult:
        if not any(value.dtype is _BYTES for value in (*model.graph.inputs, *model.graph.outputs)):
            return PassResult(0)
        InferShapes().apply(model)
        edits, moved = GraphEdits(model.graph), 0
        while True:  # a chain of such operators changes one by one
            changed = [node for node in list(model.graph) if _cast_after(edits, node) or _cast_before(edits, node)]
            if not changed:
                return PassResult(moved, (f"{moved} operators move floats in place of bytes",) if moved else ())
            moved += len(changed)


def _moves_bytes(node: ir.Node) -> bool:
    data = node.inputs[0] if node.inputs else None
    moving = node.op_type in MOVING and is_standard(node) and len(node.outputs) == 1
    return moving and data is not None and data.dtype is _BYTES and node.outputs[0].dtype is _BYTES


def _cast_after(edits: GraphEdits, node: ir.Node) -> bool:
    """Of ``node`` and the Casts that alone read it, all to one type: the Cast first."""
    output = node.outputs[0] if node.outputs else None
    if not _moves_bytes(node) or output is None or output.is_graph_output():
        return False
    casts = [use.node for use in output.uses()]
    kinds = {cast.outputs[0].dtype for cast in casts if cast.op_type == "Cast" and is_standard(cast)}
    kind = kinds.pop() if len(kinds) == 1 else None
    if kind not in _FLOATS or any(cast.op_type != "Cast" for cast in casts):
        return False
    _computes_in(edits, node, kind)
    for cast in casts:
        if cast.outputs[0].is_graph_output():
            cast.op_type, cast.domain = "Identity", ""
            cast.attributes.clear()
        else:
            cast.outputs[0].replace_all_uses_with(output)
            edits.graph.remove(cast, safe=True)
    return True


def _computes_in(edits: GraphEdits, node: ir.Node, kind: ir.DataType) -> None:
    """Give ``node`` its data cast to ``kind``."""
    data = node.inputs[0]
    assert data is not None
    name = f"{node.name}/as float"
    cast = edits.node("Cast", [data], name, name, kind, data.shape, {"to": kind.value})
    edits.graph.insert_before(node, cast)
    node.replace_input_with(0, cast.outputs[0])
    node.outputs[0].type = ir.TensorType(kind)


def _cast_before(edits: GraphEdits, node: ir.Node) -> bool:
    """Of a Cast to bytes and ``node``, which alone reads it: the Cast last. What is no byte may become a smaller one,
    so that the largest is chosen of bytes.
    """
    data = node.inputs[0] if node.inputs else None
    cast = data.producer() if data is not None else None
    if not _moves_bytes(node) or cast is None or cast.op_type != "Cast" or not is_standard(cast):
        return False
    source, output = cast.inputs[0], node.outputs[0]
    alone = len(cast.outputs[0].uses()) == 1 and not cast.outputs[0].is_graph_output()
    if source is None or source.dtype not in _FLOATS or not alone or node.op_type == "MaxPool":
        return False
    node.replace_input_with(0, source)
    kept = output.name
    output.name, output.type = edits.names.value(f"{node.name}/as float"), ir.TensorType(source.dtype)
    name = f"{node.name}/as bytes"
    again = edits.node("Cast", [output], name, name, _BYTES, output.shape, {"to": _BYTES.value})
    edits.graph.insert_after(node, [again])
    output.replace_all_uses_with(again.outputs[0], replace_graph_outputs=True)
    again.replace_input_with(0, output)
    again.outputs[0].name = kept
    edits.graph.remove(cast, safe=True)
    return True
