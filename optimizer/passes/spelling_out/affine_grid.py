"""A body for AffineGrid: places of a regular grid from -1 to 1, times one matrix per sample.

The standard's own chooses between images and volumes while it runs; where the size is computed, as spatial transformers
do from the shape of what they sample, ONNX Runtime (1.32) does not run it.
"""

from __future__ import annotations

import onnx
import onnx_ir as ir

_AXES = "xyz"
"""x runs along the last axis of the data."""


def affine_grid_body(node: ir.Node, opset: int, domain: str) -> ir.Function | None:
    """The node as a function of ``theta``, [N, 2, 3] or [N, 3, 4], and ``size``; None for other shapes."""
    theta = node.inputs[0]
    shape = theta.shape if theta is not None else None
    dimensions = shape[1] if shape is not None and len(shape) == 3 else None
    if theta is None or theta.dtype != ir.DataType.FLOAT or not isinstance(dimensions, int):
        return None
    if dimensions not in (2, 3):
        return None
    aligned = bool(node.attributes.get_int("align_corners", 0))
    axes = _AXES[:dimensions]
    columns = ", ".join(f"column_{axis}" for axis in axes)
    text = f"""<opset_import: ["" : {opset}], domain: "{domain}"> AffineGrid (theta, size) => (grid) {{
        zero = Constant<value_int = 0>()
        one = Constant<value_int = 1>()
        nothing = Constant<value_float = 0.0>()
        unit = Constant<value_float = 1.0>()
        double = Constant<value_float = 2.0>()
        at_first = Constant<value_ints = [0]>()
        at_second = Constant<value_ints = [1]>()
        at_third = Constant<value_ints = [2]>()
        at_end = Constant<value_ints = [{2 + dimensions}]>()
        across = Constant<value_ints = [{dimensions}]>()
        as_column = Constant<value_ints = [-1, 1]>()
        samples = Slice(size, at_first, at_second)
        spatial = Slice(size, at_third, at_end)
        {"".join(_axis(axis, dimensions - number, dimensions, aligned) for number, axis in enumerate(axes))}
        none = Mul(column_x, nothing)
        ones = Add(none, unit)
        places = Concat<axis = 1>({columns}, ones)
        turned = Transpose<perm = [0, 2, 1]>(theta)
        moved = MatMul(places, turned)
        whole = Concat<axis = 0>(samples, spatial, across)
        grid = Reshape(moved, whole)
    }}"""
    return ir.serde.deserialize_function(onnx.parser.parse_function(text))


def _axis(axis: str, place: int, dimensions: int, aligned: bool) -> str:
    """Nodes that make ``column_<axis>``, [places, 1], of the axis that is number ``place`` among ``dimensions`` + 1."""
    lengths = ", ".join("-1" if number == place else "1" for number in range(1, dimensions + 1))
    middle = f"""gaps_{axis} = Sub(long_{axis}, unit)
        steps_{axis} = Max(gaps_{axis}, unit)
        part_{axis} = Div(twice_{axis}, steps_{axis})"""
    if not aligned:  # corners lie at the outer edges of pixels, and places at their middles
        middle = f"""middle_{axis} = Add(twice_{axis}, unit)
        part_{axis} = Div(middle_{axis}, long_{axis})"""
    return f"""
        at_{axis} = Constant<value_int = {place + 1}>()
        count_{axis} = Gather(size, at_{axis})
        long_{axis} = Cast<to = 1>(count_{axis})
        index_{axis} = Range(zero, count_{axis}, one)
        number_{axis} = Cast<to = 1>(index_{axis})
        twice_{axis} = Mul(number_{axis}, double)
        {middle}
        value_{axis} = Sub(part_{axis}, unit)
        lengths_{axis} = Constant<value_ints = [{lengths}]>()
        along_{axis} = Reshape(value_{axis}, lengths_{axis})
        full_{axis} = Expand(along_{axis}, spatial)
        column_{axis} = Reshape(full_{axis}, as_column)"""
