"""Operators on shapes whose newer forms the parser would read as their older ones: Pad, Split, Resize, and others."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphs.reading.constants import constant_array
from graphs.reading.shapes import static_shape
from optimizer.tensorrt8.rewriting import Spot

_INT64 = ir.DataType.INT64
_LAST = (1 << 31) - 1
"""To the end, as a Slice's end in int32."""


def pad_all_axes(spot: Spot) -> bool:
    """Amounts for some axes (opset 18), written for all; constant negative ones cut off by a Slice first."""
    changed, pads = False, constant_array(spot.input(1))
    data, axes = spot.data(), constant_array(spot.input(3))
    if spot.input(3) is not None:
        if pads is None or axes is None or data.shape is None:
            return False
        pads = _for_all_axes(pads, axes, len(data.shape))
        spot.set_input(1, spot.integers(pads.tolist()))
        spot.node.resize_inputs(3)
        changed = True
    if pads is not None and np.any(pads < 0) and spot.node.attributes.get_string("mode", "constant") == "constant":
        before, after = np.split(pads, 2)
        starts = [int(max(-amount, 0)) for amount in before]
        ends = [int(amount) if amount < 0 else _LAST for amount in after]
        cut = spot.do("Slice", data, spot.integers(starts), spot.integers(ends))
        spot.set_input(0, cut)
        spot.set_input(1, spot.integers(np.maximum(pads, 0).tolist()))
        changed = True
    return changed


def _for_all_axes(pads: np.ndarray, axes: np.ndarray, rank: int) -> np.ndarray:
    full = np.zeros((2, rank), np.int64)
    full[:, axes.reshape(-1) % rank] = pads.reshape(2, -1)
    return full.reshape(-1)


def split_sizes(spot: Spot) -> bool:
    """Equal parts (``num_outputs``, opset 18), whose last may be smaller, by their sizes."""
    node = spot.node
    if spot.input(1) is not None:
        return False
    parts, axis, data = len(node.outputs), node.attributes.get_int("axis", 0), spot.data()
    spot.pop("num_outputs")
    size = data.shape[axis] if data.shape is not None else None
    if isinstance(size, int):
        if size % parts:
            spot.set_input(1, spot.integers(_parts(size, parts)))
        return True
    whole = spot.do("Gather", spot.shape_of(data), spot.integers([axis]))
    part = spot.do("Div", spot.do("Add", whole, spot.integers([parts - 1])), spot.integers([parts]))
    before = spot.do("Mul", part, spot.integers([parts - 1]))
    spot.set_input(1, spot.do("Concat", *[part] * (parts - 1), spot.do("Sub", whole, before), axis=0))
    return True


def _parts(size: int, parts: int) -> list[int]:
    each = -(-size // parts)
    return [each] * (parts - 1) + [size - each * (parts - 1)]


def resize_all_axes(spot: Spot) -> bool:
    """Scales or sizes for some axes (opset 18), written for all. Policies and antialiasing stay for the lint."""
    axes = spot.node.attributes.get_ints("axes", ())
    data = spot.data()
    if not axes or data.shape is None:
        return False
    rank = len(data.shape)
    place = {int(axis) % rank: index for index, axis in enumerate(axes)}
    one, size = spot.array("one", np.ones(1, np.float32)), spot.shape_of(data)
    if (scales := spot.input(2)) is not None:
        spot.set_input(2, _in_order([_pick(spot, scales, place[a]) if a in place else one for a in range(rank)], spot))
    if (sizes := spot.input(3)) is not None:
        picked = [_pick(spot, sizes, place[a]) if a in place else _pick(spot, size, a) for a in range(rank)]
        spot.set_input(3, _in_order(picked, spot))
    spot.pop("axes")
    return True


def _pick(spot: Spot, vector: ir.Value, index: int) -> ir.Value:
    """Element ``index`` of a vector, as a vector; of a constant one a constant."""
    known = constant_array(vector)
    if known is not None:
        return spot.array("picked", known.reshape(-1)[index : index + 1])
    return spot.do("Gather", vector, spot.integers([index]))


def _in_order(parts: list[ir.Value], spot: Spot) -> ir.Value:
    """One vector of them all; a constant where all are, which the parser wants scales to be."""
    known = [constant_array(part) for part in parts]
    if all(part is not None for part in known):
        return spot.array("all_axes", np.concatenate([part for part in known if part is not None]))
    return spot.do("Concat", *parts, axis=0)


def squeeze_axes(spot: Spot) -> bool:
    """The axes of size 1, named: the parser asks for them where another size is dynamic."""
    data = spot.data()
    result = spot.node.outputs[0]
    if spot.input(1) is not None or data.shape is None or static_shape(data) is not None or result.shape is None:
        return False
    axes = [axis for axis, size in enumerate(data.shape) if size == 1]
    if len(axes) != len(data.shape) - len(result.shape):
        return False
    spot.set_input(1, spot.integers(axes))
    return True


def triangle_in_three_axes(spot: Spot) -> bool:
    """8.5 takes matrices and stacks of them; stacks of stacks go through one stack."""
    data = spot.data()
    if data.shape is None or len(data.shape) <= 3:
        return False
    size = spot.shape_of(data)
    last = spot.do("Slice", size, spot.integers([-2]), spot.integers([_LAST]), spot.integers([0]))
    stack = spot.do("Reshape", data, spot.do("Concat", spot.integers([-1]), last, axis=0))
    cut = spot.do("Trilu", stack, spot.input(1), upper=spot.node.attributes.get_int("upper", 1))
    spot.deliver(spot.do("Reshape", cut, size))
    return True
