"""What a model says of its own quantization: how much of it there is, and in which tool's dialect it is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
import onnx_ir as ir

from graphs.errors import BadInput
from graphs.reading.constants import Array, constant_array, constant_tensor, input_at
from graphs.reading.number_types import MIDDLE
from graphs.reading.operators import is_standard
from graphs.reading.quantizers import DQ, EIGHT_BITS, Q, type_without_zero
from graphs.reading.weighted import operands

INTEGER_OPERATORS = frozenset({"QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger", "QGemm"})
DYNAMIC_OPERATORS = frozenset({"DynamicQuantizeLinear", "DynamicQuantizeMatMul", "MatMulIntegerToFloat"})


class Dialect(str, Enum):
    """Who writes a quantized model so."""

    TENSORRT = "Q/DQ for TensorRT (pytorch-quantization, ModelOpt)"
    ONNXRUNTIME = "ONNX Runtime's Q/DQ"
    TENSORFLOW = "Q/DQ with zero points and float biases (TensorFlow)"
    QOPERATOR = "ONNX Runtime's integer operators (QOperator)"
    DYNAMIC = "dynamic quantization: activations are quantized as they come"
    WEIGHTS = "quantized weights, float activations"


@dataclass(frozen=True)
class Survey:
    """``activations`` and ``weights`` count tensors of 8-bit codes, ``zero_points`` those of them whose zero is not the
    middle of the codes, ``integer_biases`` int32 codes; ``per_tensor`` the weights with one scale; ``unquantized`` the
    products with a constant weight that compute in float.
    """

    dialect: Dialect
    activations: int
    weights: int
    per_tensor: int
    zero_points: int
    integer_biases: int
    unquantized: int

    @property
    def static(self) -> bool:
        """Whether the source says in which range every quantized activation is: nothing is left to calibrate."""
        return self.dialect not in (Dialect.DYNAMIC, Dialect.WEIGHTS)

    def told(self) -> str:
        """One sentence for people."""
        parts = [f"{self.activations} activations"] if self.static else []
        granularity = f", {self.per_tensor} with one scale" if self.per_tensor else ""
        parts.append(f"{self.weights} weights{granularity}")
        parts += [f"{self.zero_points} zero points beside the middle"] if self.zero_points else []
        parts += [f"{self.integer_biases} int32 biases"] if self.integer_biases else []
        parts += [f"{self.unquantized} products in float"] if self.unquantized else []
        return f"comes quantized: {self.dialect.value}; {', '.join(parts)}"


def survey(model: ir.Model) -> Survey | None:
    """What ``model`` as imported says; None for a float model, and for one whose codes are not of 8 bits."""
    nodes = [node for graph in model.graphs() for node in graph]
    ops = Counter(node.op_type for node in nodes)
    quantized = [node for node in nodes if node.op_type == Q and is_standard(node) and not _constant(node, 0)]
    stored = [node for node in nodes if node.op_type in (Q, DQ) and is_standard(node) and _constant(node, 0)]
    weights = [node for node in stored if _codes(node) in EIGHT_BITS]
    biases = [node for node in stored if _codes(node) is ir.DataType.INT32]
    integer = [node for node in nodes if node.op_type in INTEGER_OPERATORS]
    dynamic = sum(ops[name] for name in DYNAMIC_OPERATORS)
    eight = [node for node in quantized if _codes(node) in EIGHT_BITS]
    if not (eight or weights or integer or dynamic):
        return None
    offset = sum(_beside_the_middle(node) for node in eight)
    dialect = _dialect(eight, weights, integer, dynamic, biases, offset)
    return Survey(
        dialect,
        activations=len(eight) + sum(_gives_codes(node) for node in nodes),
        weights=len(weights) + len(integer),
        per_tensor=sum(_single(node) for node in weights),
        zero_points=offset + sum(_beside_the_middle(node) for node in weights),
        integer_biases=len(biases),
        unquantized=sum(_in_float(node) for node in nodes),
    )


def check_scales(model: ir.Model, where: str) -> None:
    """Raises ``BadInput`` for a scale that no number has: not finite, or negative."""
    for graph in model.graphs():
        for node in graph:
            if node.op_type in (Q, DQ) and is_standard(node):
                scale = _numbers(node.inputs[1])
                if scale is not None and not (np.isfinite(scale) & (scale >= 0)).all():
                    raise BadInput(
                        f"{node.op_type} {node.name!r} has a scale that is not finite or negative",
                        where=where,
                        expected="positive scales",
                        fix="export the quantized model again: a range was probably empty when its scale was taken",
                    )


def _dialect(
    activations: Sequence[ir.Node],
    weights: Sequence[ir.Node],
    integer: Sequence[ir.Node],
    dynamic: int,
    biases: Sequence[ir.Node],
    offset: int,
) -> Dialect:
    if dynamic:
        return Dialect.DYNAMIC
    if integer:
        return Dialect.QOPERATOR
    if not activations:
        return Dialect.WEIGHTS
    if biases:
        return Dialect.ONNXRUNTIME
    unsigned = sum(_codes(node) is ir.DataType.UINT8 for node in (*activations, *weights))
    return Dialect.TENSORFLOW if offset or unsigned else Dialect.TENSORRT


def _numbers(value: ir.Value | None) -> Array | None:
    """A constant in FP32, whatever float it comes in; None for one that is computed, or no number."""
    tensor = constant_tensor(value)
    kinds = (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.DOUBLE)
    return tensor.numpy().astype(np.float32) if tensor is not None and tensor.dtype in kinds else None


def _constant(node: ir.Node, index: int) -> bool:
    return constant_tensor(node.inputs[index]) is not None


def _codes(node: ir.Node) -> ir.DataType | None:
    """The type of the codes that a Q makes or a DQ reads."""
    zero = input_at(node, 2)
    return zero.dtype if zero is not None else type_without_zero(node)


def _beside_the_middle(node: ir.Node) -> bool:
    zero = constant_array(node.inputs[2]) if len(node.inputs) > 2 else None
    if zero is None:
        return _codes(node) is ir.DataType.UINT8
    return bool((zero != (MIDDLE if zero.dtype.name == "uint8" else 0)).any())


def _gives_codes(node: ir.Node) -> bool:
    """Whether the result of an integer operator is quantized."""
    return node.op_type.startswith("QLinear") or node.op_type == "QGemm"


def _single(node: ir.Node) -> bool:
    scale = constant_tensor(node.inputs[1])
    return scale is not None and scale.size == 1


def _in_float(node: ir.Node) -> bool:
    found = operands(node)
    return found is not None and node.op_type not in INTEGER_OPERATORS and _constant(node, found[1])
