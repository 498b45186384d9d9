"""What each operator joins and fixes (``axes``). An operator that is not here fixes all it touches."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import onnx_ir as ir

from graphs.reading.constants import constant_array, input_at
from graphs.reading.weighted import group
from optimizer.sparsity.axes import Axes, rank_of, same_run, size_of

Rule: TypeAlias = "Callable[[Axes, ir.Node], None]"


def _rank(value: ir.Value) -> int:
    return rank_of(value) or 0


def _fix(axes: Axes, node: ir.Node, value: ir.Value | None, axis: int, why: str = "") -> None:
    if value is not None:
        axes.fix((value, axis), f"{node.op_type} {node.name}{f' {why}' if why else ''}")


def elementwise(axes: Axes, node: ir.Node) -> None:
    """Operands and result are aligned at their last axes; an axis of length one is repeated."""
    output = node.outputs[0]
    for value in node.inputs:
        if value is None:
            continue
        offset = _rank(output) - _rank(value)
        for axis in range(_rank(value)):
            if size_of((value, axis)) != 1 and offset + axis >= 0:
                axes.join((value, axis), (output, offset + axis))


def first_operand(axes: Axes, node: ir.Node) -> None:
    """Result like the first operand, axis by axis; the others (bounds, a ratio) are scalars."""
    _alike(axes, node.inputs[0], node.outputs[0])


def _alike(axes: Axes, first: ir.Value | None, second: ir.Value, but: tuple[int, ...] = ()) -> None:
    if first is not None:
        for axis in range(_rank(first)):
            if axis not in but:
                axes.join((first, axis), (second, axis))


def normalization(axes: Axes, node: ir.Node) -> None:
    """BatchNormalization, InstanceNormalization: each channel by its own constants."""
    first_operand(axes, node)
    for value in node.inputs[1:]:
        _join(axes, value, 0, node.outputs[0], 1)


def layer_normalization(axes: Axes, node: ir.Node) -> None:
    """Mean and variance are of all channels, in any order; gain and bias go with them."""
    first_operand(axes, node)
    for value in node.inputs[1:]:
        if value is not None:
            offset = _rank(node.outputs[0]) - _rank(value)
            for axis in range(_rank(value)):
                if size_of((value, axis)) != 1:
                    axes.join((value, axis), (node.outputs[0], offset + axis))


def _spatial(axes: Axes, node: ir.Node) -> None:
    """Samples stay apart; windows look at which place is where."""
    data, output = node.inputs[0], node.outputs[0]
    assert data is not None
    axes.join((data, 0), (output, 0))
    for axis in range(2, _rank(data)):
        _fix(axes, node, data, axis)
        _fix(axes, node, output, axis)


def pooling(axes: Axes, node: ir.Node) -> None:
    """Channels, axis 1, stay apart."""
    _spatial(axes, node)
    _join(axes, node.inputs[0], 1, node.outputs[0], 1)


def _join(axes: Axes, first: ir.Value | None, axis: int, second: ir.Value | None, other: int) -> None:
    if first is not None and second is not None:
        axes.join((first, axis), (second, other))


def convolution(axes: Axes, node: ir.Node) -> None:
    """Input channels meet the weight's second axis, output channels its first; a depthwise one keeps each apart."""
    _spatial(axes, node)
    data, weight, output = node.inputs[0], node.inputs[1], node.outputs[0]
    assert data is not None and weight is not None
    if group(node) == 1 or (size_of((weight, 1)) == 1 and size_of((weight, 0)) == group(node)):
        axes.join((data, 1), (weight, 1 if group(node) == 1 else 0))
        axes.join((output, 1), (weight, 0))
    else:
        _in_groups(axes, node)
    _taps_and_bias(axes, node)


def transposed_convolution(axes: Axes, node: ir.Node) -> None:
    """Input channels meet the weight's first axis, output channels its second."""
    _spatial(axes, node)
    data, weight, output = node.inputs[0], node.inputs[1], node.outputs[0]
    if group(node) == 1:
        _join(axes, data, 1, weight, 0)
        _join(axes, output, 1, weight, 1)
    else:
        _in_groups(axes, node)
    _taps_and_bias(axes, node)


def _in_groups(axes: Axes, node: ir.Node) -> None:
    """Which channel meets which is a matter of place."""
    data, weight, output = node.inputs[0], node.inputs[1], node.outputs[0]
    for value, axis in ((data, 1), (output, 1), (weight, 0), (weight, 1)):
        _fix(axes, node, value, axis, "works in groups")


def _taps_and_bias(axes: Axes, node: ir.Node) -> None:
    weight = node.inputs[1]
    assert weight is not None
    for axis in range(2, _rank(weight)):
        _fix(axes, node, weight, axis)
    _join(axes, input_at(node, 2), 0, node.outputs[0], 1)


def product(axes: Axes, node: ir.Node) -> None:
    """MatMul: rows and columns, contracted in any order; leading axes aligned at the last of them."""
    first, second, output = node.inputs[0], node.inputs[1], node.outputs[0]
    if first is None or second is None or min(_rank(first), _rank(second)) < 2:
        for value in (first, second, output):
            axes.fix_all(value, f"MatMul {node.name} of a vector")
        return
    a, b, y = _rank(first), _rank(second), _rank(output)
    axes.join((first, a - 1), (second, b - 2))
    axes.join((first, a - 2), (output, y - 2))
    axes.join((second, b - 1), (output, y - 1))
    for value, rank in ((first, a), (second, b)):
        for axis in range(rank - 2):
            if size_of((value, axis)) != 1:
                axes.join((value, axis), (output, y - rank + axis))


def gemm(axes: Axes, node: ir.Node) -> None:
    """As MatMul, each operand transposed or not; the addend aligned at its last axes."""
    first, second, output = node.inputs[0], node.inputs[1], node.outputs[0]
    across, back = node.attributes.get_int("transA", 0), node.attributes.get_int("transB", 0)
    _join(axes, first, 0 if across else 1, second, 1 if back else 0)
    _join(axes, first, 1 if across else 0, output, 0)
    _join(axes, second, 0 if back else 1, output, 1)
    if (addend := input_at(node, 2)) is not None:
        for axis in range(_rank(addend)):
            if size_of((addend, axis)) != 1:
                axes.join((addend, axis), (output, 2 - _rank(addend) + axis))


def transposed(axes: Axes, node: ir.Node) -> None:
    """Axes change places."""
    data = node.inputs[0]
    rank = 0 if data is None else _rank(data)
    order = node.attributes.get_ints("perm", None) or list(range(rank))[::-1]
    for place, axis in enumerate(order):
        _join(axes, data, axis, node.outputs[0], place)


def reshaped(axes: Axes, node: ir.Node) -> None:
    """An axis that comes out whole stays; one that is split or merged (attention heads, Flatten) is fixed."""
    data, output = node.inputs[0], node.outputs[0]
    assert data is not None
    kept: set[int] = set()
    for axis in range(_rank(data)):
        other = same_run(data, output, axis)
        if other is None or other in kept:
            _fix(axes, node, data, axis, "splits or merges it")
        else:
            kept.add(other)
            axes.join((data, axis), (output, other))
    for axis in set(range(_rank(output))) - kept:
        _fix(axes, node, output, axis, "splits or merges it")


def reduced(axes: Axes, node: ir.Node) -> None:
    """Axes that are summed over, or the like, may stand in any order; the others stay."""
    data, output = node.inputs[0], node.outputs[0]
    assert data is not None
    rank = _rank(data)
    given = (
        constant_array(input_at(node, 1)) if input_at(node, 1) is not None else node.attributes.get_ints("axes", None)
    )
    if given is None and input_at(node, 1) is not None:
        axes.fix_all(data, f"{node.op_type} {node.name}")
        axes.fix_all(output, f"{node.op_type} {node.name}")
        return
    if bool(node.attributes.get_int("noop_with_empty_axes", 0)) and (given is None or not len(given)):
        first_operand(axes, node)
        return
    away = {int(axis) % rank for axis in given} if given is not None and len(given) else set(range(rank))
    keep = node.attributes.get_int("keepdims", 1)
    places = iter(range(_rank(output)))
    for axis in range(rank):
        if axis in away and not keep:
            continue
        place = next(places)
        if axis not in away:
            axes.join((data, axis), (output, place))


def along_an_axis(default: int) -> Rule:
    """What looks along one axis (``axis``) and leaves the others: that axis is fixed, in and out."""

    def rule(axes: Axes, node: ir.Node) -> None:
        output = node.outputs[0]
        fixed = node.attributes.get_int("axis", default) % max(_rank(output), 1)
        for value in node.inputs:
            if value is not None and _rank(value) == _rank(output):
                _alike(axes, value, output, but=(fixed,))
                _fix(axes, node, value, fixed, "joins or cuts it")
        _fix(axes, node, output, fixed, "joins or cuts it")

    return rule


def looked_up(axes: Axes, node: ir.Node) -> None:
    """Gather: the axis that indices count is fixed, those behind it stay, those of the indices take its place."""
    data, indices, output = node.inputs[0], node.inputs[1], node.outputs[0]
    assert data is not None and indices is not None
    at = node.attributes.get_int("axis", 0) % max(_rank(data), 1)
    _fix(axes, node, data, at, "looks its places up")
    for axis in range(_rank(data)):
        if axis != at:
            axes.join((data, axis), (output, axis if axis < at else axis + _rank(indices) - 1))
    for axis in range(_rank(indices)):
        _join(axes, indices, axis, output, at + axis)


def resized(axes: Axes, node: ir.Node) -> None:
    """Places are interpolated; an axis whose length does not change stays."""
    data, output = node.inputs[0], node.outputs[0]
    assert data is not None
    for axis in range(_rank(data)):
        if axis < 2 and size_of((data, axis)) == size_of((output, axis)):
            axes.join((data, axis), (output, axis))
        else:
            _fix(axes, node, data, axis)
            _fix(axes, node, output, axis)


def padded(axes: Axes, node: ir.Node) -> None:
    """What is put before and behind has its place; an axis that gets nothing stays."""
    data, output = node.inputs[0], node.outputs[0]
    assert data is not None
    rank, pads = _rank(data), constant_array(input_at(node, 1))
    known = pads is not None and len(pads) == 2 * rank and input_at(node, 3) is None
    for axis in range(rank):
        if known and pads is not None and not pads[axis] and not pads[rank + axis]:
            axes.join((data, axis), (output, axis))
        else:
            _fix(axes, node, data, axis)
            _fix(axes, node, output, axis)


def shape_only(axes: Axes, node: ir.Node) -> None:
    """Sizes do not depend on the order."""


_ELEMENTWISE = (
    *("Add", "Sub", "Mul", "Div", "Pow", "Min", "Max", "Sum", "Mean", "Where", "PRelu", "Equal", "Greater", "Less"),
    *("GreaterOrEqual", "LessOrEqual", "And", "Or", "Xor", "Mod"),
)
_FIRST_OPERAND = (
    *("Relu", "LeakyRelu", "Clip", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "Elu", "Selu", "Celu", "Softplus"),
    *("Softsign", "Gelu", "Mish", "Swish", "ThresholdedRelu", "Erf", "Exp", "Log", "Sqrt", "Reciprocal", "Neg", "Abs"),
    *("Floor", "Ceil", "Round", "Sign", "Sin", "Cos", "Not", "IsNaN", "Cast", "Identity", "Dropout"),
    *("Softmax", "LogSoftmax"),  # each value beside the sum of all, in any order
)
RULES: dict[str, Rule] = {
    **dict.fromkeys(_ELEMENTWISE, elementwise),
    **dict.fromkeys(_FIRST_OPERAND, first_operand),
    **dict.fromkeys(("BatchNormalization", "InstanceNormalization"), normalization),
    **dict.fromkeys(("LayerNormalization", "RMSNormalization"), layer_normalization),
    **dict.fromkeys(("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "LpPool"), pooling),
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze"), reshaped),
    **dict.fromkeys(
        ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceSumSquare"), reduced
    ),
    **dict.fromkeys(("Shape", "Size"), shape_only),
    "Conv": convolution,
    "ConvTranspose": transposed_convolution,
    "MatMul": product,
    "Gemm": gemm,
    "Transpose": transposed,
    "Concat": along_an_axis(0),
    "Gather": looked_up,
    "Resize": resized,
    "Pad": padded,
}
"""By operator of ONNX's own. Split has several results and Slice its axes in a tensor: they fix what they touch, as all
do that are not here."""
