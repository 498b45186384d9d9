"""Normalizations whose axes, modes or parameters meant something else: softmax, batch-norm, group-norm."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from optimizer.importing.adapters.site import CannotConvert, Site


def softmax_over_matrix(site: Site) -> None:
    """Opset 13: Softmax, LogSoftmax and Hardmax work along one axis; before, over all from ``axis`` (1) on, as one.

    The same where at most one of those axes is longer than 1; else the tensor goes through a matrix.
    """
    axis = site.node.attributes.get_int("axis", 1)
    data, sizes = site.data(), site.shape()
    if sizes is not None:
        rank = len(sizes)
        start = axis + rank if axis < 0 else axis
        long = [i for i in range(start, rank) if sizes[i] != 1]
        if start < rank and len(long) <= 1:
            site.node.attributes["axis"] = ir.AttrInt64("axis", long[0] if long else rank - 1)
            return
    shape = site.add("Shape", [data], "shape")
    matrix = site.add("Flatten", [data], "matrix", axis=axis)
    result = site.add(site.node.op_type, [matrix], "rows", axis=-1)
    site.become("Reshape", [result, shape])


def batch_norm_mode(site: Site) -> None:
    """Opset 7: whether a batch-norm trains is told by its outputs, no longer by ``is_test``."""
    site.pop("is_test")


def batch_norm_per_activation(site: Site) -> None:
    """Opset 9: one mean per channel. With ``spatial = 0`` there was one per activation: written out as arithmetic."""
    if site.node.attributes.get_int("spatial", 1):
        site.pop("spatial")
        return
    dtype = site.dtype()
    site.drop_unused_outputs(1)
    epsilon = site.node.attributes.get_float("epsilon", 1e-5)
    data, scale, bias, mean, variance = (site.input(i) for i in range(5))
    floor = site.constant("epsilon", np.array(epsilon, dtype))
    deviation = site.add("Sqrt", [site.add("Add", [variance, floor], "variance")], "deviation")
    normal = site.add("Div", [site.add("Sub", [data, mean], "centred"), deviation], "normal")
    site.become("Add", [site.add("Mul", [normal, scale], "scaled"), bias])


def batch_norm_outputs(site: Site) -> None:
    """Opset 14: an attribute tells whether to train. Before, that was told by the further outputs, which what runs
    models (ONNX Runtime) never computed: where nobody reads them, the node infers."""
    outputs = site.node.outputs
    if any(o.uses() or o.is_graph_output() for o in outputs[1:]):
        site.drop_unused_outputs(3)
        site.node.attributes["training_mode"] = ir.AttrInt64("training_mode", 1)
    else:
        site.drop_unused_outputs(1)


def group_norm_per_channel(site: Site) -> None:
    """Opset 21: scale and bias are per channel; before, per group."""
    groups = site.node.attributes.get_int("num_groups", 0)
    shape = site.shape()
    channels = shape[1] if shape is not None and len(shape) > 1 else None
    if channels == groups:
        return
    if groups <= 0:
        raise CannotConvert("it has no attribute 'num_groups'")
    if isinstance(channels, int):
        sizes = site.constant("repeats", [1, channels // groups])
    else:
        count = site.add("Shape", [site.data()], "channels", start=1, end=2)
        one, number = site.constant("one", [1]), site.constant("groups", [groups])
        count.dtype = ir.DataType.INT64
        sizes = site.add("Concat", [one, site.add("Div", [count, number], "per_group")], "repeats", axis=0)
    column, flat = site.constant("column", [-1, 1]), site.constant("flat", [-1])
    for index, name in ((1, "scale"), (2, "bias")):
        rows = site.add("Reshape", [site.input(index), column], f"{name}_rows")
        repeated = site.add("Expand", [rows, sizes], f"{name}_repeated")
        site.set_input(index, site.add("Reshape", [repeated, flat], f"{name}_per_channel"))
