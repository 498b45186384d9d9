"""Lint of typed graphs: what TensorRT rejects, reinterprets or silently leaves unfused, found before a build.

Rules follow NVIDIA's explicit-quantization rules (TensorRT documentation, "Working with Quantized Types") and what its
parser was seen to do: non-zero zero points and int32 biases are errors, uint8 is read as int8, and a wrong axis or a
per-channel activation parses but is not fused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum

import numpy as np
import onnx
import onnx_ir as ir

from graphs.reading.constants import constant_array, constant_tensor, input_at
from graphs.reading.operators import is_standard
from graphs.reading.weighted import is_weighted, output_axis, reduction_axis
from graphs.tensorrt.block_quantizers import QUANTIZERS

_FLOATS = {ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.DOUBLE}
_QUANTIZED = {ir.DataType.INT8, ir.DataType.INT4, ir.DataType.FLOAT8E4M3FN, ir.DataType.FLOAT4E2M1}


class Rule(str, Enum):
    """What a finding is about."""

    ZERO_POINT = "zero-point"
    QUANTIZED_TYPE = "quantized-type"
    WEIGHT_AXIS = "weight-axis"
    PER_TENSOR = "activation-per-tensor"
    BIAS = "quantized-bias"
    SCALE_VALUE = "scale-value"
    SCALE_TYPE = "scale-type"
    DANGLING = "dangling"
    PAIR = "pair"
    ONE_SIDED = "one-sided"
    TYPE_MISMATCH = "type-mismatch"
    OPERATOR = "operator"
    OPSET = "opset"
    MISREAD = "misread"
    NOT_CONSTANT = "not-constant"
    DTYPE = "dtype"
    SHAPE = "shape"


@dataclass(frozen=True)
class LintFinding:
    """``where`` is the ONNX node name."""

    rule: Rule
    where: str
    message: str


def lint(model: ir.Model) -> list[LintFinding]:
    """Every violation in the graph and its subgraphs, in graph order; an empty list for a graph TensorRT can take."""
    opset = model.opset_imports.get("", 21)
    findings: list[LintFinding] = []
    for graph in model.graphs():
        for node in graph:
            for rule, message in _findings(node, opset):
                findings.append(LintFinding(rule, str(node.name), message))
    return findings


_Found = Iterator[tuple[Rule, str]]


def _findings(node: ir.Node, opset: int) -> _Found:
    if not is_standard(node):
        return
    checks: list[Callable[[ir.Node], _Found]] = []
    if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
        checks += [_zero_point, _scale_value, _scale_type]
    if node.op_type == "QuantizeLinear":
        checks += [_per_tensor, _pairing]
    if node.op_type == "DequantizeLinear":
        checks += [_source_of_dequantize]
    if is_weighted(node):
        checks += [_operands, _bias, _weight_axis]
    for check in checks:
        yield from check(node)
    yield from _equal_types(node, opset)


def _quantized_type(node: ir.Node) -> ir.DataType | None:
    """The integer or FP8 type of a Q or DQ; QuantizeLinear without zero point and attribute gives uint8."""
    zero_point = input_at(node, 2)
    if zero_point is not None:
        return zero_point.dtype
    if node.op_type == "QuantizeLinear":
        return ir.DataType(node.attributes.get_int("output_dtype", 0) or ir.DataType.UINT8.value)
    source = node.inputs[0]
    return source.dtype if source is not None else None


def _zero_point(node: ir.Node) -> _Found:
    dtype = _quantized_type(node)
    if dtype is not None and dtype not in _QUANTIZED:
        yield Rule.QUANTIZED_TYPE, f"quantizes to {dtype.name.lower()}, TensorRT reads int8, int4, fp8 and fp4"
    zero_point = input_at(node, 2)
    if zero_point is None:
        return
    array = constant_array(zero_point)
    if array is None:
        yield Rule.ZERO_POINT, "the zero point is not a constant"
    elif np.any(array.astype(np.float32) != 0):
        yield Rule.ZERO_POINT, "the zero point is not 0: TensorRT quantizes symmetrically"


def _scale_value(node: ir.Node) -> _Found:
    scale = constant_array(node.inputs[1])
    if scale is None and _found_as_it_runs(node.inputs[1]):
        return
    if scale is None:
        yield Rule.SCALE_VALUE, "the scale is not a constant"
        return
    smallest = _smallest(scale)
    values = scale.astype(np.float64)
    if not np.all(np.isfinite(values)):
        yield Rule.SCALE_VALUE, "the scale is not finite"
    elif np.any(values <= 0):
        yield Rule.SCALE_VALUE, "the scale is not positive"
    elif np.any(values < smallest):
        yield Rule.SCALE_VALUE, f"scale {values.min():.3g} has no digits left in {scale.dtype.name}"


def _found_as_it_runs(scale: ir.Value | None) -> bool:
    """Whether a scale is one of those of blocks: made by a block quantizer, or stored as codes with a scale of their
    own (two levels).
    """
    producer = scale.producer() if scale is not None else None
    return producer is not None and producer.op_type in ("DequantizeLinear", *QUANTIZERS)


def _smallest(scale: np.ndarray) -> float:
    """A normal number; of FP16, whose subnormals GPUs compute with, one of which four bits are left."""
    return 2.0**-20 if scale.dtype == np.float16 else 2.0**-126


def _scale_type(node: ir.Node) -> _Found:
    """Strong typing: a Q's data and a DQ's result have the type of the scale."""
    scale = node.inputs[1]
    data = node.inputs[0] if node.op_type == "QuantizeLinear" else node.outputs[0]
    if scale is None or data is None or scale.dtype is None or data.dtype is None or scale.dtype == data.dtype:
        return
    if not ({"precision", "output_dtype"} & set(node.attributes)):
        yield Rule.SCALE_TYPE, f"the scale is {scale.dtype.name}, the data {data.dtype.name}"


def _per_tensor(node: ir.Node) -> _Found:
    scale = constant_tensor(node.inputs[1])
    if scale is not None and scale.size > 1 and constant_tensor(node.inputs[0]) is None:
        yield Rule.PER_TENSOR, f"an activation has {scale.size} scales: it is not fused"


def _pairing(node: ir.Node) -> _Found:
    users = [user for user, _ in node.outputs[0].uses()]
    if not users or any(user.op_type != "DequantizeLinear" for user in users):
        yield Rule.DANGLING, "its result is not dequantized by a DequantizeLinear"
    for user in users:
        if user.op_type == "DequantizeLinear" and not _same_scale(node.inputs[1], user.inputs[1]):
            yield Rule.PAIR, f"its scale differs from that of {user.name!r}"


def _same_scale(first: ir.Value | None, second: ir.Value | None) -> bool:
    if first is second:
        return True
    a, b = constant_array(first), constant_array(second)
    return a is not None and b is not None and a.shape == b.shape and bool(np.all(a == b))


def _source_of_dequantize(node: ir.Node) -> _Found:
    source = node.inputs[0]
    if source is None or constant_tensor(source) is not None:
        return
    producer = source.producer()
    if producer is None or producer.op_type not in ("QuantizeLinear", *QUANTIZERS):
        yield Rule.DANGLING, "dequantizes what no QuantizeLinear made"


def _dequantize(value: ir.Value | None) -> ir.Node | None:
    """The DQ a value comes from, directly or through the Cast of an FP32 pair in a half-precision graph."""
    producer = value.producer() if value is not None else None
    if producer is not None and producer.op_type == "Cast" and producer.inputs[0] is not None:
        producer = producer.inputs[0].producer()
    return producer if producer is not None and producer.op_type == "DequantizeLinear" else None


def _weight_of(dequantize: ir.Node) -> ir.TensorProtocol | None:
    """The constant behind a weight's DQ, stored quantized or quantized by a Q; None for an activation."""
    source = dequantize.inputs[0]
    producer = source.producer() if source is not None else None
    if producer is not None and producer.op_type == "QuantizeLinear":
        source = producer.inputs[0]
    return constant_tensor(source)


def _operands(node: ir.Node) -> _Found:
    quantized = [_dequantize(node.inputs[index]) is not None for index in (0, 1)]
    if quantized[0] != quantized[1] and not (quantized[1] and _stored_as_codes(node)):
        which = "data" if quantized[0] else "weight"
        yield Rule.ONE_SIDED, f"only its {which} input is quantized: it does not run in int8"


def _stored_as_codes(node: ir.Node) -> bool:
    """Whether the weight of a matrix product is kept as codes, a form of its own: fewer bytes, a product of floats."""
    dequantize = _dequantize(node.inputs[1])
    stored = dequantize is not None and constant_tensor(dequantize.inputs[0]) is not None
    return stored and node.op_type in ("MatMul", "Gemm")


def _bias(node: ir.Node) -> _Found:
    if node.op_type != "MatMul" and _dequantize(input_at(node, 2)) is not None:
        yield Rule.BIAS, "its bias is quantized: TensorRT takes floating-point biases only"


def _weight_axis(node: ir.Node) -> _Found:
    dequantize = _dequantize(node.inputs[1])
    weight = _weight_of(dequantize) if dequantize is not None else None
    scale = constant_tensor(dequantize.inputs[1]) if dequantize is not None else None
    if dequantize is None or weight is None or scale is None or len(scale.shape) == 0 or scale.size == 1:
        return
    rank = len(weight.shape)
    if rank < 2:
        yield Rule.WEIGHT_AXIS, f"its weight is a vector with {scale.size} scales: it has no output channels"
        return
    axis, wanted = dequantize.attributes.get_int("axis", 1) % rank, output_axis(node, rank)
    block = dequantize.attributes.get_int("block_size", 0)
    if block:
        yield from _blocks(node, weight, scale, axis, block)
    elif axis != wanted:
        yield Rule.WEIGHT_AXIS, f"its weight is quantized along axis {axis}, output channels are axis {wanted}"
    elif len(scale.shape) == 1 and scale.size != weight.shape.numpy()[axis]:
        yield Rule.WEIGHT_AXIS, f"its weight has {scale.size} scales for {weight.shape.numpy()[axis]} output channels"


def _blocks(node: ir.Node, weight: ir.TensorProtocol, scale: ir.TensorProtocol, axis: int, block: int) -> _Found:
    """Blocks run along what the product sums over; the last of each row may be shorter."""
    shape = list(weight.shape.numpy())
    wanted = reduction_axis(node, len(shape))
    if axis != wanted:
        yield Rule.WEIGHT_AXIS, f"its weight has blocks along axis {axis}, the product sums over axis {wanted}"
        return
    shape[axis] = -(-shape[axis] // block)
    if list(scale.shape.numpy()) != shape:
        found = "x".join(str(size) for size in scale.shape.numpy())
        yield Rule.WEIGHT_AXIS, f"its weight has {found} scales for {'x'.join(map(str, shape))} blocks of {block}"


def _equal_types(node: ir.Node, opset: int) -> _Found:
    """Operands the ONNX schema gives one type variable must have one type."""
    if not onnx.defs.has(node.op_type):
        return
    try:
        schema = onnx.defs.get_schema(node.op_type, opset)
    except onnx.defs.SchemaError:
        return
    seen: dict[str, ir.DataType] = {}
    slots = [(schema.inputs, node.inputs), (schema.outputs, node.outputs)]
    for formals, values in slots:
        for index, value in enumerate(values):
            if value is None or value.dtype not in _FLOATS or not formals:
                continue
            variable = formals[min(index, len(formals) - 1)].type_str
            first = seen.setdefault(variable, value.dtype)
            if first != value.dtype:
                yield Rule.TYPE_MISMATCH, f"{value.name!r} is {value.dtype.name}, other operands are {first.name}"
                return
