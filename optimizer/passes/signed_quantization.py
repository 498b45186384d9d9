"""A source quantized to uint8 around 128, in int8 around 0: the same numbers, in the form that TensorRT takes.

TensorRT quantizes symmetrically to int8 only; q - 128 is exactly the int8 that the same scale gives. Another zero point
has no such equal and stays.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from optimizer.passes.base import PassResult
from optimizer.passes.constants import constant_array, constant_tensor, set_constant_input

_MIDDLE = 128
_PAIR = ("QuantizeLinear", "DequantizeLinear")


class SignedQuantization:
    """Rewrites a QuantizeLinear, or a constant, whose readers are all DequantizeLinear of that zero point."""

    name = "signed quantization"

    def apply(self, model: ir.Model) -> PassResult:
        changed = 0
        for graph in list(model.graphs()):
            values = [value for node in graph for value in node.outputs if node.op_type == "QuantizeLinear"]
            values += [value for value in graph.initializers.values() if value.dtype == ir.DataType.UINT8]
            for value in values:
                changed += _is_middle(value) and _sign(value)
        note = f"{changed} tensors quantized to uint8 around 128 are int8 around 0 for TensorRT: the same numbers"
        return PassResult(changed, (note,) if changed else ())


def _is_middle(value: ir.Value) -> bool:
    """Whether ``value`` is quantized around 128, and read by DequantizeLinear only."""
    readers = [(node, index) for node, index in value.uses()]
    if not readers or value.is_graph_output() or value.is_graph_input():
        return False
    if any(node.op_type != "DequantizeLinear" or index != 0 or not _around_middle(node) for node, index in readers):
        return False
    producer = value.producer()
    return constant_tensor(value) is not None if producer is None else _around_middle(producer)


def _around_middle(node: ir.Node) -> bool:
    if node.op_type not in _PAIR or node.domain != "" or len(node.inputs) < 3:
        return False
    zero = constant_array(node.inputs[2])
    return zero is not None and zero.dtype == np.uint8 and bool((zero == _MIDDLE).all())


def _sign(value: ir.Value) -> bool:
    producer = value.producer()
    readers = [node for node, _ in value.uses()]
    for node in (*readers, *([producer] if producer is not None else [])):
        zero = constant_array(node.inputs[2])
        assert zero is not None
        set_constant_input(node, 2, np.zeros(zero.shape, np.int8), f"{node.name}/zero")
    if producer is not None:
        producer.attributes.pop("output_dtype", None)
        value.type = ir.TensorType(ir.DataType.INT8)
        return True
    array = constant_array(value)
    assert array is not None
    signed = (array.astype(np.int16) - _MIDDLE).astype(np.int8)
    for node in readers:
        set_constant_input(node, 0, signed, str(value.name))
    return True
