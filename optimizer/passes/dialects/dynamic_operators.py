"""Dynamic quantization, brought back to float products: no runtime but ONNX Runtime quantizes data as it comes.

``DynamicQuantizeLinear`` → ``MatMulInteger`` or ``ConvInteger`` → ``Cast`` → ``Mul`` by both scales is a product of
float data with a weight that 8 bits hold. The weight keeps its values; the data is not rounded any more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
import onnx_ir.passes.common as common

from graphs.reading.constants import Array, along, constant_array, only_consumer
from graphs.reading.operators import is_standard
from graphs.writing.edits import GraphEdits, drop_unused_initializers
from optimizer.passes.base import PassResult

_FLOAT_PRODUCT = {"MatMulInteger": "MatMul", "ConvInteger": "Conv"}


class FloatProducts:
    """Every product of such a chain; one of another form stays as it is."""

    name = "bring dynamic quantization back to float"

    def apply(self, model: ir.Model) -> PassResult:
        edits = GraphEdits(model.graph)
        found = [chain for node in list(model.graph) if (chain := _chain(node)) is not None]
        for chain in found:
            _write(edits, chain)
        if not found:
            return PassResult(0)
        common.RemoveUnusedNodesPass()(model)
        drop_unused_initializers(model)
        note = f"{len(found)} products of dynamic quantization are float products of the same weights"
        return PassResult(len(found), (note,))


@dataclass(frozen=True)
class _Chain:
    """``product`` of ``data``, quantized as it comes, and codes; ``last`` multiplies by both scales."""

    product: ir.Node
    data: ir.Value
    weight: Array
    last: ir.Node


def _chain(product: ir.Node) -> _Chain | None:
    if product.op_type not in _FLOAT_PRODUCT or not is_standard(product) or product.inputs[0] is None:
        return None
    quantize, codes = product.inputs[0].producer(), constant_array(product.inputs[1])
    if quantize is None or quantize.op_type != "DynamicQuantizeLinear" or codes is None or quantize.inputs[0] is None:
        return None
    cast = only_consumer(product.outputs[0])
    last = only_consumer(cast.outputs[0]) if cast is not None and cast.op_type == "Cast" else None
    if cast is None or last is None or last.op_type != "Mul":
        return None
    factor = next((value for value in last.inputs if value is not cast.outputs[0]), None)
    scale = _weight_scale(factor, quantize.outputs[1])
    zero = constant_array(product.inputs[3]) if len(product.inputs) > 3 and product.inputs[3] is not None else None
    if scale is None or (len(product.inputs) > 3 and product.inputs[3] is not None and zero is None):
        return None
    scale, zero = (_spread(array, codes, product) for array in (scale, np.zeros(1) if zero is None else zero))
    if scale is None or zero is None:
        return None
    weight = ((codes.astype(np.float64) - zero) * scale).astype(np.float32)
    return _Chain(product, quantize.inputs[0], weight, last)


def _weight_scale(factor: ir.Value | None, of_data: ir.Value) -> Array | None:
    """The constant that is multiplied with the scale of the data; None where ``factor`` is another product."""
    both = factor.producer() if factor is not None else None
    if both is None or both.op_type != "Mul" or not any(value is of_data for value in both.inputs):
        return None
    return constant_array(next((value for value in both.inputs if value is not of_data), None))


def _spread(array: Array, codes: Array, product: ir.Node) -> Array | None:
    """One number, or one per output channel, so that it broadcasts with the weight."""
    axis = codes.ndim - 1 if product.op_type == "MatMulInteger" else 0
    if array.size not in (1, codes.shape[axis]):
        return None
    return np.asarray(along(array, axis, codes.ndim), np.float64)


def _write(edits: GraphEdits, chain: _Chain) -> None:
    product, output = chain.product, chain.last.outputs[0]
    name, graph = str(product.name), product.graph
    assert isinstance(graph, ir.Graph)
    weight = edits.constant(f"{name}/weight", chain.weight)
    made = edits.node(
        _FLOAT_PRODUCT[product.op_type],
        [chain.data, weight],
        f"{name}/float",
        f"{output.name}/product",
        ir.DataType.FLOAT,
        output.shape,
    )
    made.attributes.update(product.attributes)
    graph.insert_before(chain.last, made)
    if output.is_graph_output():
        output.name, made.outputs[0].name = f"{output.name}/replaced", output.name
    output.replace_all_uses_with(made.outputs[0], replace_graph_outputs=True)
    graph.remove(chain.last, safe=True)
