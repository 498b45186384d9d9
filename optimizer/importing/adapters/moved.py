"""Attributes that became inputs, that went, or whose default changed."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir

from optimizer.importing.adapters.site import CannotConvert, Site


def drop_consumed_inputs(site: Site) -> None:
    """Opset 6: a hint to Caffe2's memory planner went."""
    site.pop("consumed_inputs")


def cast_by_name(site: Site) -> None:
    """Opset 6: Cast's target type is a number, no name."""
    attribute = site.pop("to")
    if attribute is None:
        raise CannotConvert("it has no attribute 'to'")
    to = attribute.value
    kind = onnx.TensorProto.DataType.Value(str(to).upper()) if isinstance(to, str) else int(to)
    site.node.attributes["to"] = ir.AttrInt64("to", kind)


def concat_axis(site: Site) -> None:
    """Opset 4: axis has no default any more; it was 1."""
    site.default("axis", 1)


def selu_defaults(site: Site) -> None:
    """Opset 6: more digits in the defaults."""
    site.default("alpha", 1.6732)
    site.default("gamma", 1.0507)


def integer_norm(site: Site) -> None:
    """Opset 2: the p of LpPool and GlobalLpPool is an integer."""
    attribute = site.pop("p")
    p = 2.0 if attribute is None else float(attribute.value)
    if p != int(p):
        raise CannotConvert(f"p is {p}; newer opsets take whole numbers")
    site.node.attributes["p"] = ir.AttrInt64("p", int(p))


def reshape_by_attribute(site: Site) -> None:
    """Opset 5: the shape is an input."""
    shape = site.pop_ints("shape")
    if shape is None:
        raise CannotConvert("it has no attribute 'shape'")
    site.set_input(1, site.constant("shape", shape))


def recurrent_outputs(site: Site) -> None:
    """Opset 7: which outputs there are is told by the outputs."""
    site.pop("output_sequence")


def gru_direction(site: Site) -> None:
    """Opset 3: the default of direction was misspelt."""
    direction = site.node.attributes.get_string("direction", "forward")
    site.node.attributes["direction"] = ir.AttrString("direction", direction.replace("foward", "forward"))


def slice_by_attribute(site: Site) -> None:
    """Opset 10: starts, ends and axes are inputs."""
    starts, ends, axes = site.pop_ints("starts"), site.pop_ints("ends"), site.pop_ints("axes")
    if starts is None or ends is None:
        raise CannotConvert("it has no attributes 'starts' and 'ends'")
    site.set_input(1, site.constant("starts", starts))
    site.set_input(2, site.constant("ends", ends))
    if axes is not None:
        site.set_input(3, site.constant("axes", axes))


def topk_by_attribute(site: Site) -> None:
    """Opset 10: K is an input."""
    k = site.pop("k")
    if k is None:
        raise CannotConvert("it has no attribute 'k'")
    site.set_input(1, site.constant("k", [int(k.value)]))


def clip_by_attribute(site: Site) -> None:
    """Opset 11: the bounds are inputs, of the data's own type; a missing one is no bound."""
    if not {"min", "max"} & set(site.node.attributes):
        return
    dtype = site.dtype()
    for index, name in ((1, "min"), (2, "max")):
        bound = site.pop(name)
        if bound is not None:
            site.set_input(index, site.constant(name, np.array(bound.value, dtype)))


def pad_amounts(site: Site) -> None:
    """Opset 2: paddings is called pads."""
    pads = site.pop_ints("paddings")
    if pads is not None:
        site.node.attributes["pads"] = ir.AttrInt64s("pads", pads)


def pad_by_attribute(site: Site) -> None:
    """Opset 11: pads and the value are inputs."""
    fill = site.node.attributes.get_float("value", 0.0)
    dtype = site.dtype() if fill else np.dtype(np.float32)
    pads = site.pop_ints("pads")
    if pads is None:
        raise CannotConvert("it has no attribute 'pads'")
    site.pop("value")
    site.set_input(1, site.constant("pads", pads))
    if fill:
        site.set_input(2, site.constant("value", np.array(fill, dtype)))


def axes_by_attribute(site: Site) -> None:
    """Opset 13 (Squeeze, Unsqueeze, ReduceSum) and 18 (other reductions): axes is an input."""
    axes = site.pop_ints("axes")
    if axes is not None:
        site.set_input(1, site.constant("axes", axes))


def split_by_attribute(site: Site) -> None:
    """Opset 13: the sizes are an input. In opset 1 they could be either."""
    sizes, given = site.pop_ints("split"), site.input(1)
    if given is None and sizes is not None:
        site.set_input(1, site.constant("split", sizes))
    elif given is not None and given.dtype not in (None, ir.DataType.INT64):
        site.set_input(1, site.add("Cast", [given], "split", to=ir.DataType.INT64.value))


def split_evenly(site: Site) -> None:
    """Opset 18: a Split into equal parts says how many."""
    if site.input(1) is None and "num_outputs" not in site.node.attributes:
        site.node.attributes["num_outputs"] = ir.AttrInt64("num_outputs", len(site.node.outputs))


def dropout_by_attribute(site: Site) -> None:
    """Opset 12: ratio is an input, and whether to train as well; without it nothing is dropped, so ratio says nothing.

    Before, ``is_test`` or the number of outputs told. A model that infers drops nothing; its mask, which is all true
    now, was all zero in what ran such models (ONNX Runtime).
    """
    site.pop("ratio")
    site.pop("is_test")
    mask = site.node.outputs[1] if len(site.node.outputs) > 1 else None
    if mask is None or not (mask.uses() or mask.is_graph_output()):
        return
    data = site.data()
    if mask.dtype in (None, ir.DataType.BOOL):
        site.hand_over(1, site.add("Less", [data, data], "mask"))
    else:
        site.hand_over(1, site.add("Sub", [data, data], "mask"))


def scatter_elements(site: Site) -> None:
    """Opset 11: Scatter is called ScatterElements."""
    site.node.op_type = "ScatterElements"


def roi_align_mode(site: Site) -> None:
    """Opset 16: half_pixel became the default of RoiAlign."""
    site.default("coordinate_transformation_mode", "output_half_pixel")


def grid_sample_modes(site: Site) -> None:
    """Opset 20: bilinear is called linear, bicubic cubic."""
    mode = site.node.attributes.get_string("mode", "bilinear")
    site.node.attributes["mode"] = ir.AttrString("mode", {"bilinear": "linear", "bicubic": "cubic"}.get(mode, mode))


def dft_axis(site: Site) -> None:
    """Opset 20: the axis is an input, and its default another."""
    axis = site.pop("axis")
    if site.input(1) is None:
        site.set_input(1, None)
    site.set_input(2, site.constant("axis", np.array(1 if axis is None else axis.value, np.int64)))
