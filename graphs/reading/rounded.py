"""Integer outputs that are numbers: codes of a quantized model, pixels of an image. Others are labels and places."""

from __future__ import annotations

import onnx_ir as ir

from graphs.reading.operators import MOVING, is_standard
from graphs.reading.quantizers import Q
from graphs.reading.shapes import infer_shapes

_FLOATS = {ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.DOUBLE}


def rounded_outputs(model: ir.Model) -> frozenset[str]:
    """Names of the integer outputs of ``model`` that floats are rounded to, by a Q or a Cast: another value may be the
    neighbour of the right one, where another label is a mistake.
    """
    whole = [str(v.name) for v in model.graph.outputs if v.dtype is not None and v.dtype not in _FLOATS]
    if not whole:
        return frozenset()
    copy = model.clone()
    infer_shapes(copy)
    return frozenset(str(v.name) for v in copy.graph.outputs if str(v.name) in whole and _is_rounded(v))


def _is_rounded(value: ir.Value | None) -> bool:
    node = value.producer() if value is not None else None
    if node is None or not is_standard(node) or value is None or value.dtype is ir.DataType.BOOL:
        return False
    if node.op_type in MOVING:
        return _is_rounded(node.inputs[0])
    source = node.inputs[0] if node.inputs else None
    if node.op_type == "Cast" and source is not None:
        return source.dtype in _FLOATS or _is_rounded(source)
    return node.op_type in (Q, "DynamicQuantizeLinear")
