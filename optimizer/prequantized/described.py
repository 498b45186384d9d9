"""The plan and the table of a graph whose quantization is the source's own."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from calibration.table import FROM_SOURCE, CalibrationTable, TensorRange
from graphs.reading.quantizers import DQ, Q, pairs
from optimizer.precision import Dtype, NodePrecision, PrecisionPlan
from optimizer.prequantized.fusable import dequantized, is_integer_conv, is_integer_product
from optimizer.quantization.rules.catalogue import Rule
from optimizer.quantization.rules.commuting import AVERAGING, moves_values
from optimizer.quantization.rules.floats import EPILOGUES
from optimizer.typed.labels import GIVEN

NOT_GIVEN = "not quantized in the source"
LEFT_OUT = "quantized in the source; an integer kernel needs both operands so"


def plan_of(model: ir.Model, high: Dtype, costs: Mapping[str, int]) -> PrecisionPlan:
    """Every node but Q and DQ: INT8 where its operands come quantized, in a form that a kernel takes, else ``high``."""
    return PrecisionPlan(
        {
            str(node.name): _precision(node, high, costs.get(str(node.name), 0))
            for node in model.graph
            if node.op_type not in (Q, DQ)
        }
    )


def _precision(node: ir.Node, high: Dtype, macs: int) -> NodePrecision:
    if is_integer_product(node) or _between(node):
        return NodePrecision(Dtype.INT8, GIVEN, node.op_type, macs)
    if node.op_type in EPILOGUES and _behind_integer(node):
        return NodePrecision(
            high, Rule.NO_OUTPUT_QUANTIZATION.reason("fused into the integer op before it"), node.op_type
        )
    half = any(dequantized(value) for value in node.inputs) and bool(macs)
    return NodePrecision(high, LEFT_OUT if half else NOT_GIVEN, node.op_type, macs)


def _behind_integer(activation: ir.Node) -> bool:
    """Whether an integer product, or a sum on codes, makes the operand of ``activation``."""
    made = activation.inputs[0].producer() if activation.inputs and activation.inputs[0] is not None else None
    return made is not None and (is_integer_product(made) or _between(made))


def _between(node: ir.Node) -> bool:
    """Whether an operator without weights works on codes: fed from a DQ, or a residual sum, and read by a Q."""
    if not (moves_values(node) or node.op_type in AVERAGING or node.op_type == "Add"):
        return False
    fed = [value for value in node.inputs if value is not None and value.dtype in (None, ir.DataType.FLOAT)]
    if node.op_type != "Concat" and node.op_type != "Add":
        fed = fed[:1]
    if not fed or not any(dequantized(value) for value in fed):
        return False
    made = [value.producer() for value in fed if not dequantized(value)]
    return all(other is not None and is_integer_conv(other) for other in made) and _quantized(node.outputs[0])


def _quantized(value: ir.Value) -> bool:
    readers = [use.node for use in value.uses()]
    return bool(readers) and any(
        node.op_type == Q or (node.op_type in EPILOGUES and _quantized(node.outputs[0])) or is_integer_product(node)
        for node in readers
    )


def table_of(model: ir.Model, model_digest: str) -> CalibrationTable:
    """The ranges that the pairs of ``model`` say."""
    tensors = {}
    for pair in pairs(model.graph):
        low, high = pair.low, pair.high
        tensors[str(pair.data.name)] = TensorRange(low, high, low, high, max(-low, high), FROM_SOURCE)
    notes = ["scales and zero points of the source; nothing was calibrated"]
    return CalibrationTable(tensors, FROM_SOURCE, 0, False, model_digest, "", notes=notes)
