"""What it costs the CPU's form to leave an op in float: more than its multiply-accumulates.

An integer convolution stands in a chain that stays integer: in float its data are dequantized and its result quantized
again, element by element. Of a depthwise one that is more work than its products: with its depthwise ones in float
MobileNetV2 took 1.3 times as long, for 1 % of its MACs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import onnx_ir as ir

from graphs.reading.weighted import WeightedOp, group
from optimizer.quantization.placement.insertion_points import Placement
from optimizer.quantization.rules.weighted import weighted_op

ELEMENT = 18
"""MACs that convert one element on its way into or out of a chain. On an EPYC with VNNI, one thread, a depthwise 3x3 of
192 channels at 28x28 takes 0.2 ms more in float, and its conversions 0.1: as long as 18 million 8-bit MACs, of which a
MAC in float costs three or four."""


def felt_costs(model: ir.Model, placement: Placement, costs: Mapping[str, int]) -> dict[str, int]:
    """``costs`` (MACs per sample, by node) with what conversions cost beside a convolution's own work, where it would
    leave a chain of ``placement``.
    """
    ops = {str(node.name): op for node in model.graph if isinstance(op := weighted_op(node), WeightedOp)}
    return {
        name: cost + (_conversions(ops[name], placement, cost) if name in ops else 0) for name, cost in costs.items()
    }


def _conversions(op: WeightedOp, placement: Placement, cost: int) -> int:
    """Of a convolution's data, where an integer kernel makes them, and of its result, where only such ones read it; a
    matrix product's result is float anyway.
    """
    if op.node.op_type != "Conv":
        return 0
    name, data = str(op.node.name), op.node.inputs[0]
    strides = op.node.attributes.get("strides")
    inputs = int(op.tensor.shape.numpy()[1]) * group(op.node)
    written = cost // op.reduction
    read = written * math.prod(strides.as_ints() if strides is not None else ()) * inputs // op.channels
    leaves = name not in placement.results and name not in placement.float_results
    enters = data is not None and data.name in placement.rounded
    return ELEMENT * (written * leaves + read * enters)
