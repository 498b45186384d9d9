"""What moves values about: reshapes, slices, gathers, pads, resizes, joins, casts, and shapes read from tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from studies.breadth.draft import Draft, Rejected, Value


def reshape(d: Draft) -> object:
    """Axes joined or split, with 0 and -1 as exporters write them."""
    value = d.pick(2, 3, 4, 5)
    shape = list(value.array.shape)
    if d.chance(0.5):
        at = int(d.rng.integers(1, max(value.rank - 1, 2)))
        new = [*shape[:at], -1, *shape[at + 2 :]]
    else:
        at = int(d.rng.integers(1, value.rank))
        part = next((p for p in (2, 3, 1) if shape[at] % p == 0), 1)
        new = [*shape[:at], part, shape[at] // part, *shape[at + 1 :]]
    return d.add("Reshape", [value, d.integers([0, *new[1:]])])


def flatten(d: Draft) -> object:
    return d.add("Flatten", [d.pick(2, 3, 4, 5)], axis=1)


def shape_of_itself(d: Draft) -> object:
    """A target shape computed from the tensor's own shape: Shape, Gather, Concat, Reshape."""
    value = d.pick(3, 4)
    batch = d.add("Gather", [d.add("Shape", [value]), d.integers([0])])
    return d.add("Reshape", [value, d.add("Concat", [batch, d.integers([-1])], axis=0)])


def transpose(d: Draft) -> object:
    value = d.pick(2, 3, 4, 5)
    rest = [int(axis) + 1 for axis in d.rng.permutation(value.rank - 1)]
    return d.add("Transpose", [value], perm=[0, *rest])


def squeeze(d: Draft) -> object:
    value = d.pick()
    ones = [axis for axis in range(1, value.rank) if value.array.shape[axis] == 1]
    if not ones:
        raise Rejected
    return _with_axes(d, "Squeeze", value, [d.choice(ones)])


def unsqueeze(d: Draft) -> object:
    value = d.pick(1, 2, 3, 4)
    return _with_axes(d, "Unsqueeze", value, [int(d.rng.integers(1, value.rank + 1))])


def _with_axes(d: Draft, op: str, value: Value, axes: list[int]) -> object:
    return d.add(op, [value], axes=axes) if d.opset < 13 else d.add(op, [value, d.integers(axes)])


def expand(d: Draft) -> object:
    value = d.pick(2, 3, 4)
    shape = [size if size > 1 else int(d.rng.integers(1, 4)) for size in value.array.shape]
    if d.opset < 8:
        raise Rejected
    return d.add("Expand", [value, d.integers([1, *shape[1:]])])


def tile(d: Draft) -> object:
    value = d.pick(2, 3, 4)
    return d.add("Tile", [value, d.integers([1, *(int(d.rng.integers(1, 3)) for _ in range(value.rank - 1))])])


def concat(d: Draft) -> object:
    value = d.pick(2, 3, 4)
    axis = int(d.rng.integers(1, value.rank))
    fits = [v for v in d.values if v.array.dtype == value.array.dtype and _joins(value, v, axis)]
    more = [d.choice(fits) for _ in range(int(d.rng.integers(1, 3)))]
    return d.add("Concat", [value, *more], axis=axis)


def _joins(first: Value, second: Value, axis: int) -> bool:
    a, b = first.array.shape, second.array.shape
    return len(a) == len(b) and all(i == axis or m == n for i, (m, n) in enumerate(zip(a, b, strict=True)))


def split(d: Draft) -> object:
    value = d.pick(2, 3, 4)
    axis = int(d.rng.integers(1, value.rank))
    size = value.array.shape[axis]
    if size < 2:
        raise Rejected
    first = int(d.rng.integers(1, size))
    if d.opset < 13:
        return d.add("Split", [value], outputs=2, axis=axis, split=[first, size - first])
    return d.add("Split", [value, d.integers([first, size - first])], outputs=2, axis=axis)


def cut(d: Draft) -> object:
    """A slice: from either end, in steps, backwards."""
    value = d.pick(2, 3, 4)
    axis = int(d.rng.integers(1, value.rank))
    size = value.array.shape[axis]
    start = int(d.rng.integers(0, max(size - 1, 1)))
    if d.opset < 10:
        return d.add("Slice", [value], axes=[axis], starts=[start], ends=[2**31 - 1])
    if d.chance(0.2):
        return d.add("Slice", [value, *(d.integers([n]) for n in (-1, -(2**31), axis, -1))])
    step = d.choice((1, 1, 2))
    return d.add("Slice", [value, *(d.integers([n]) for n in (start, d.choice((2**63 - 1, size)), axis, step))])


def pad(d: Draft) -> object:
    value = d.pick(2, 3, 4)
    amounts = [0] + [int(d.rng.integers(0, 2)) for _ in range(value.rank - 1)]
    pads = [*amounts, *([0] + [int(d.rng.integers(0, 2)) for _ in range(value.rank - 1)])]
    mode = d.choice(("constant", "constant", "reflect", "edge"))
    if d.opset < 11:
        return d.add("Pad", [value], pads=pads, mode=mode)
    given = [d.constant(np.float64(d.choice((0.0, 1.5, -3.0))))] if mode == "constant" and d.chance(0.6) else []
    return d.add("Pad", [value, d.integers(pads), *given], mode=mode)


def gather(d: Draft) -> object:
    value = d.pick(2, 3, 4)
    axis = int(d.rng.integers(1, value.rank))
    size = value.array.shape[axis]
    shape = d.choice(((), (2,), (2, 2)))
    return d.add("Gather", [value, d.constant(d.rng.integers(-size if d.opset >= 11 else 0, size, shape))], axis=axis)


def gather_elements(d: Draft) -> object:
    value = d.pick(2, 3)
    if d.opset < 11:
        raise Rejected
    axis = int(d.rng.integers(1, value.rank))
    index = d.add("ArgMax", [value], axis=axis, keepdims=1)
    return d.add("GatherElements", [value, index], axis=axis)


def scatter(d: Draft) -> object:
    value = d.pick(2, 3)
    if d.opset < 11:
        raise Rejected
    index = d.constant(np.zeros((1,) * value.rank, np.int64))
    updates = d.constant(d.rng.normal(size=(1,) * value.rank))
    reduction: dict[str, Any] = {"reduction": "add"} if d.opset >= 16 and d.chance(0.4) else {}
    return d.add("ScatterElements", [value, index, updates], axis=1, **reduction)


def space_and_depth(d: Draft) -> object:
    value = d.pick(4)
    _, channels, height, width = value.array.shape
    if channels % 4 == 0:
        mode: dict[str, Any] = {"mode": d.choice(("DCR", "CRD"))} if d.opset >= 11 else {}
        return d.add("DepthToSpace", [value], blocksize=2, **mode)
    if height % 2 or width % 2:
        raise Rejected
    return d.add("SpaceToDepth", [value], blocksize=2)


def resize(d: Draft) -> object:
    value = d.pick(4)
    scales = d.constant(np.asarray(d.choice(((1, 1, 2, 2), (1, 1, 1.5, 2), (1, 1, 0.5, 0.5)))), np.float32)
    mode = d.choice(("nearest", "linear", "cubic") if d.opset >= 11 else ("nearest", "linear"))
    if d.opset < 9:
        return d.add("Upsample", [value], mode=mode, scales=[1.0, 1.0, 2.0, 2.0])
    if d.opset < 11:
        return d.add("Resize" if d.opset == 10 else "Upsample", [value, scales], mode=mode)
    how = d.choice(("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"))
    rounding: dict[str, Any] = {"nearest_mode": d.choice(("floor", "round_prefer_floor"))} if mode == "nearest" else {}
    empty = d.constant(np.zeros(0), np.float32) if d.opset < 13 else None
    return d.add("Resize", [value, empty, scales], mode=mode, coordinate_transformation_mode=how, **rounding)


def largest(d: Draft) -> object:
    value = d.pick(2, 3)
    axis = int(d.rng.integers(1, value.rank))
    count = d.integers([int(d.rng.integers(1, value.array.shape[axis] + 1))])
    return d.add("TopK", [value, count] if d.opset >= 10 else [value], outputs=2, axis=axis)[0]


def running_sum(d: Draft) -> object:
    value = d.pick(2, 3)
    if d.opset < 11:
        raise Rejected
    return d.add("CumSum", [value, d.constant(np.asarray(value.rank - 1, np.int64))])


def triangle(d: Draft) -> object:
    return d.add("Trilu", [d.pick(2, 3, 4)], upper=int(d.chance(0.5)))


def cast(d: Draft) -> object:
    """To another type and back: to integers, to booleans, to the other floats."""
    value = d.pick()
    middle = d.choice((6, 7, 1, 10, 11, 9))
    there = d.add("Cast", [value], to=middle)
    return d.add("Cast", [there], to={"float16": 10, "float32": 1, "float64": 11, "bfloat16": 16}[d.dtype.name])


def made_constant(d: Draft) -> object:
    """A constant that nodes make: EyeLike, ConstantOfShape, Range, OneHot, multiplied in."""
    value = d.pick(2, 3, 4)
    if d.opset < 11:
        raise Rejected
    last = value.array.shape[-1]
    start, stop, step = (d.constant(np.asarray(float(n))) for n in (0, last, 1))
    made = d.add("Range", [start, stop, step])
    if d.chance(0.5):
        square = d.add("ConstantOfShape", [d.integers([last, last])])
        eye = d.add("EyeLike", [square], dtype={"float16": 10, "float32": 1, "float64": 11}.get(d.dtype.name, 1))
        return d.add("MatMul", [value, eye])
    return d.add("Add", [value, made])


def dropout(d: Draft) -> object:
    return d.add("Dropout", [d.pick()])


def empty(d: Draft) -> object:
    """A piece without elements, joined to one that has some."""
    value = d.pick(2, 3)
    if d.opset < 13:
        raise Rejected
    axis = value.rank - 1
    nothing = d.add("Slice", [value, *(d.integers([n]) for n in (0, 0, axis, 1))])
    return d.add("Concat", [nothing, value], axis=axis)


STEPS = (
    *(reshape, flatten, shape_of_itself, transpose, transpose, squeeze, unsqueeze, expand, tile, concat, concat),
    *(split, split, cut, cut, pad, pad, gather, gather_elements, scatter, space_and_depth, resize, resize, largest),
    *(running_sum, triangle, cast, made_constant, dropout, empty),
)
