"""What TensorRT 8's parser asks of single operators, or passes over in them: one check per fact.

Each fact was read in the importer of the operator (onnx/onnx-tensorrt, release/8.5-GA, ``builtin_op_importers.cpp``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np
import onnx_ir as ir

from graphs.reading.constants import constant_array, constant_tensor, input_at
from graphs.tensorrt.lint import Rule
from graphs.tensorrt.tensorrt8.operators import LARGEST_K, REDUCTIONS

Found: TypeAlias = "Iterator[tuple[Rule, str]]"
Check: TypeAlias = "Callable[[ir.Node], Found]"

_INTEGERS = (ir.DataType.INT32, ir.DataType.INT64)


def _rank(node: ir.Node, index: int = 0) -> int | None:
    value = input_at(node, index)
    return None if value is None or value.shape is None else len(value.shape)


def constant(index: int, what: str) -> Check:
    """Input ``index``, where it is given, must be an initializer."""

    def check(node: ir.Node) -> Found:
        value = input_at(node, index)
        if value is not None and constant_tensor(value) is None:
            yield Rule.NOT_CONSTANT, f"its {what} is computed, the parser takes a constant only"

    return check


def plain(name: str, wanted: object, why: str) -> Check:
    """Attribute ``name``, where it is given, must be ``wanted`` (each of its integers must be)."""

    def check(node: ir.Node) -> Found:
        given = node.attributes[name].value if name in node.attributes else wanted
        values = list(given) if isinstance(given, (list, tuple)) else [given]
        if any(value != wanted for value in values):
            yield Rule.MISREAD, f"its {name} is {given}, {why}"

    return check


def ranks(*allowed: int) -> Check:
    """Input 0 must have one of these ranks, where it is known."""

    def check(node: ir.Node) -> Found:
        rank = _rank(node)
        if rank is not None and rank not in allowed:
            yield Rule.SHAPE, f"its data has rank {rank}, the parser takes {' or '.join(map(str, allowed))}"

    return check


def floats(node: ir.Node) -> Found:
    """Unary functions and activations of integers are refused."""
    value = input_at(node, 0)
    if value is not None and value.dtype in _INTEGERS:
        yield Rule.DTYPE, f"its data is {value.dtype.name.lower()}, the parser takes floats only"


def first_output_only(node: ir.Node) -> Found:
    extra = [value for value in node.outputs[1:] if value.name]
    if extra:
        yield Rule.OPERATOR, f"its output {extra[0].name!r} is none of the parser's"


def quantizer(node: ir.Node) -> Found:
    """Q and DQ: three inputs, FP32 constant scales, zero points of 0 in int8, one scale for data."""
    scale, zero = constant_array(input_at(node, 1)), constant_array(input_at(node, 2))
    if scale is None or scale.dtype != np.float32:
        yield Rule.SCALE_TYPE, "its scale is not a constant in FP32: one in FP16 is read beyond its end"
        return
    if not bool(np.all(scale > 0) and np.all(np.isfinite(scale))):
        yield Rule.SCALE_VALUE, "its scale is not positive and finite"
    if zero is None:
        yield Rule.ZERO_POINT, "it has no constant zero point: the parser takes three inputs only"
    elif zero.dtype != np.int8 or np.any(zero != 0) or zero.size != scale.size:
        yield Rule.ZERO_POINT, "its zero point is not a 0 in int8 for each scale"
    yield from _data_of_quantizer(node, scale.size)


def _data_of_quantizer(node: ir.Node, scales: int) -> Found:
    data = node.inputs[0]
    producer = data.producer() if data is not None else None
    if node.op_type == "QuantizeLinear":
        if scales > 1 and constant_tensor(data) is None:
            yield Rule.PER_TENSOR, f"an activation has {scales} scales, TensorRT takes one"
    elif producer is None:
        yield Rule.QUANTIZED_TYPE, "it dequantizes an int8 constant, which the parser refuses: FP32, Q and DQ it takes"
    elif scales > 1 and (producer.op_type != "QuantizeLinear" or constant_tensor(producer.inputs[0]) is None):
        yield Rule.PER_TENSOR, f"an activation has {scales} scales, TensorRT takes one"


def _kernel_shape(node: ir.Node) -> Found:
    if constant_tensor(node.inputs[1]) is None and "kernel_shape" not in node.attributes:
        yield Rule.MISREAD, "its weight is no initializer and it has no kernel_shape: the parser reads none"


def _reduction(node: ir.Node) -> Found:
    """No axes means all of them to the parser, whatever noop_with_empty_axes says."""
    axes = constant_tensor(input_at(node, 1))
    if node.attributes.get_int("noop_with_empty_axes", 0) and (axes is None or not axes.size):
        yield Rule.MISREAD, "with noop_with_empty_axes and no axes it changes nothing; the parser reduces all axes"
    elif axes is not None and not axes.size:
        yield Rule.MISREAD, "its axes are empty, which means all of them; the parser reduces none"


def _recurrent(node: ir.Node) -> Found:
    names = node.attributes.get_strings("activations", ())
    if node.attributes.get_string("direction", "forward") == "bidirectional" and names:
        half = len(names) // 2
        if list(names[:half]) != list(names[half:]):
            yield Rule.OPERATOR, "its two directions have different activations"


def _hidden_size(node: ir.Node) -> Found:
    if "hidden_size" not in node.attributes:
        yield Rule.MISREAD, "it does not say its hidden_size, and the parser asks for it"


def _scan(node: ir.Node) -> Found:
    """Axes are counted from the back of eight."""
    for name in ("scan_input_axes", "scan_output_axes"):
        if any(axis < 0 for axis in node.attributes.get_ints(name, ())):
            yield Rule.MISREAD, f"its {name} are negative: the parser counts them from the eighth axis"


def _norm_of_one_or_two(node: ir.Node) -> Found:
    p = node.attributes.get_int("p", 2)
    if p not in (1, 2):
        yield Rule.OPERATOR, f"its p is {p}, the parser takes 1 or 2"


def _output_shape(node: ir.Node) -> Found:
    data = input_at(node, 0)
    known = data is not None and data.shape is not None and all(isinstance(size, int) for size in list(data.shape)[2:])
    if "output_shape" in node.attributes and not known:
        yield Rule.MISREAD, "it names its output_shape and its data's is dynamic: the parser pads by a size of -1"


def _resize(node: ir.Node) -> Found:
    mode = node.attributes.get_string("mode", "nearest")
    transformed = node.attributes.get_string("coordinate_transformation_mode", "half_pixel")
    if transformed not in ("half_pixel", "pytorch_half_pixel", "asymmetric", "align_corners"):
        yield Rule.OPERATOR, f"its coordinate_transformation_mode is {transformed}"
    scales = constant_array(input_at(node, 2))
    axes = {"linear": 3, "cubic": 2}.get(mode)
    if axes is not None and scales is not None and np.any(scales[:-axes] != 1):
        yield Rule.OPERATOR, f"it resizes more than the last {axes} axes by {mode} interpolation"
    value = input_at(node, 0)
    if value is not None and value.dtype in (*_INTEGERS, ir.DataType.BOOL):
        yield Rule.DTYPE, f"its data is {value.dtype.name.lower()}, TensorRT resizes floats"


def _pad(node: ir.Node) -> Found:
    mode = node.attributes.get_string("mode", "constant")
    if mode not in ("constant", "reflect", "edge"):
        yield Rule.OPERATOR, f"its mode is {mode}"
    pads = constant_array(input_at(node, 1))
    if pads is not None and np.any(pads < 0):
        yield Rule.OPERATOR, "some of its pads are negative"


def _top_k(node: ir.Node) -> Found:
    k = constant_array(input_at(node, 1))
    if k is not None and int(k.reshape(-1)[0]) > LARGEST_K:
        yield Rule.OPERATOR, f"its K is {int(k.reshape(-1)[0])}, TensorRT finds at most {LARGEST_K}"


def _einsum(node: ir.Node) -> Found:
    equation = node.attributes.get_string("equation", "").replace(" ", "")
    if "." in equation:
        yield Rule.OPERATOR, "its equation has an ellipsis"
    elif equation != equation.lower():
        yield Rule.OPERATOR, "its equation has capitals"
    elif any(len(set(term)) < len(term) for term in equation.split("->")[0].split(",")):
        yield Rule.OPERATOR, "its equation takes a diagonal"


def _pow(node: ir.Node) -> Found:
    if any(value is not None and value.dtype in _INTEGERS for value in node.inputs):
        yield Rule.DTYPE, "it has an integer operand, the parser raises floats to floats only"


def _mod(node: ir.Node) -> Found:
    data = input_at(node, 0)
    floats = data is not None and data.dtype is not None and data.dtype.is_floating_point()
    if floats and not node.attributes.get_int("fmod", 0):
        yield Rule.DTYPE, "it takes the divisor's sign (fmod of 0), which the parser does for integers only"


def _constant_node(node: ir.Node) -> Found:
    if "value" not in node.attributes:
        found = ", ".join(node.attributes)
        yield Rule.MISREAD, f"it holds {found}: the parser copies the bits of a float where an integer belongs"


def _squeeze(node: ir.Node) -> Found:
    data = input_at(node, 0)
    dynamic = data is None or data.shape is None or not all(isinstance(size, int) for size in data.shape)
    if input_at(node, 1) is None and dynamic:
        yield Rule.SHAPE, "it names no axes and its data's shape is dynamic"


def _loop(node: ir.Node) -> Found:
    """As many rows of a scan output as the trip count says, whenever the loop ends; 1024 without one."""
    body = node.attributes["body"].as_graph()
    carried = len(node.inputs) - 2
    if len(body.outputs) - 1 <= carried:
        return
    if input_at(node, 0) is None:
        yield Rule.MISREAD, "it gathers rows and has no trip count: the parser gathers 1024"
    elif input_at(node, 1) is not None and not _goes_on(body):
        yield Rule.MISREAD, "it gathers rows and may end early: the parser gathers as many as the trip count says"


def _goes_on(body: ir.Graph) -> bool:
    """Whether the condition that the body gives is always true, or the one it was given."""
    value: ir.Value | None = body.outputs[0]
    while value is not None and (producer := value.producer()) is not None and producer.op_type == "Identity":
        value = producer.inputs[0]
    known = constant_array(value)
    return value is body.inputs[1] or (known is not None and bool(np.all(known)))


def _if(node: ir.Node) -> Found:
    branches = [node.attributes[name].as_graph() for name in ("then_branch", "else_branch")]
    for one, other in zip(branches[0].outputs, branches[1].outputs, strict=True):
        if one.name == other.name:
            yield Rule.OPERATOR, f"both branches call an output {one.name!r}"


def _lrn(node: ir.Node) -> Found:
    size = node.attributes.get_int("size", 0)
    if size % 2 == 0 or not 1 <= size <= 15:
        yield Rule.OPERATOR, f"its size is {size}, TensorRT takes odd ones up to 15"


def _normalization_inputs(node: ir.Node) -> Found:
    if node.attributes.get_int("training_mode", 0):
        yield Rule.MISREAD, "it trains: the parser takes the statistics it was given"


def _reverse(node: ir.Node) -> Found:
    lengths = input_at(node, 1)
    size = lengths.shape[0] if lengths is not None and lengths.shape is not None else None
    if not isinstance(size, int):
        yield Rule.SHAPE, "how many sequences it reverses is dynamic"


def _grid_sample(node: ir.Node) -> Found:
    mode = node.attributes.get_string("mode", "bilinear")
    if mode not in ("bilinear", "nearest", "bicubic"):
        yield Rule.OPERATOR, f"its mode is {mode}"


_IGNORED = "and the parser does not look at it"
_FLOAT_ONLY = (
    *("Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Ceil", "Celu", "Cos", "Cosh", "Elu", "Erf", "Exp", "Floor"),
    *("HardSigmoid", "HardSwish", "LeakyRelu", "Log", "Reciprocal", "Relu", "Round", "Selu", "Sigmoid", "Sign", "Sin"),
    *("Sinh", "Softplus", "Softsign", "Sqrt", "Tan", "Tanh", "ThresholdedRelu", "ArgMax", "ArgMin", "TopK", "MatMul"),
    *("Gemm", "PRelu", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp"),
)


def _catalogue() -> dict[str, tuple[Check, ...]]:
    rows: list[tuple[tuple[str, ...], Check]] = [
        (_FLOAT_ONLY, floats),
        (REDUCTIONS, _reduction),
        (("QuantizeLinear", "DequantizeLinear"), quantizer),
        (("Conv", "ConvTranspose"), _kernel_shape),
        (("Conv", "ConvTranspose"), constant(2, "bias")),
        (("Conv", "ConvTranspose", "AveragePool", "MaxPool"), ranks(3, 4, 5)),
        (("MaxPool", "Dropout", "BatchNormalization"), first_output_only),
        (("MaxPool", "AveragePool", "LpPool"), plain("dilations", 1, _IGNORED)),
        (("MaxPool",), plain("storage_order", 0, _IGNORED)),
        (("LpPool",), plain("ceil_mode", 0, _IGNORED)),
        (("BatchNormalization",), _normalization_inputs),
        (("InstanceNormalization",), constant(1, "scale")),
        (("InstanceNormalization",), constant(2, "bias")),
        (("InstanceNormalization",), ranks(3, 4, 5)),
        (("ReduceSum", "Squeeze", "Unsqueeze"), constant(1, "axes")),
        (("Squeeze",), _squeeze),
        (("Slice",), constant(3, "axes")),
        (("CumSum",), constant(1, "axis")),
        (("TopK",), constant(1, "K")),
        (("TopK",), _top_k),
        (("OneHot",), constant(1, "depth")),
        (("Shape",), plain("start", 0, _IGNORED)),
        (("Shape",), plain("end", None, _IGNORED)),
        (("ScatterElements", "ScatterND"), plain("reduction", "none", _IGNORED)),
        (("LSTM", "GRU", "RNN"), plain("layout", 0, _IGNORED)),
        (("LSTM",), plain("input_forget", 0, "which the parser refuses")),
        (("LSTM", "GRU", "RNN"), _recurrent),
        (("LSTM", "GRU", "RNN"), _hidden_size),
        (("Scan",), _scan),
        (("LpPool", "LpNormalization"), _norm_of_one_or_two),
        (("ConvTranspose",), _output_shape),
        (("DepthToSpace", "SpaceToDepth", "GridSample"), ranks(4)),
        (("GridSample",), _grid_sample),
        (("Gemm", "EyeLike"), ranks(2)),
        (("Trilu",), ranks(2, 3)),
        (("Resize",), _resize),
        (("Resize",), plain("antialias", 0, _IGNORED)),
        (("Pad",), _pad),
        (("Einsum",), _einsum),
        (("Pow",), _pow),
        (("Mod",), _mod),
        (("Constant",), _constant_node),
        (("Loop",), _loop),
        (("If",), _if),
        (("LRN",), _lrn),
        (("ReverseSequence",), _reverse),
        (("Dropout",), constant(2, "training mode")),
    ]
    found: dict[str, tuple[Check, ...]] = {}
    for names, check in rows:
        for name in names:
            found[name] = (*found.get(name, ()), check)
    return found


CHECKS = _catalogue()
"""By operator."""
