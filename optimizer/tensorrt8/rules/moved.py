"""What became an input after opset 17, written as the attribute it was; and what got another name."""

from __future__ import annotations

import onnx_ir as ir

from graphs.reading.constants import constant_array
from optimizer.tensorrt8.rewriting import Spot

_KEEPS = frozenset({"ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd"})
"""Reductions that leave a tensor as it is where they reduce nothing; others square or take logarithms even so."""


def axes_to_attribute(spot: Spot) -> bool:
    """Axes of a reduction, an input since opset 18 (of ReduceSum since 13, which the parser reads).

    Computed axes stay for the lint to refuse: the parser would reduce all axes.
    """
    node, given = spot.node, spot.input(1)
    axes = constant_array(given)
    if given is not None and axes is None:
        return False
    wanted = [] if axes is None else [int(axis) for axis in axes.reshape(-1)]
    if not wanted and node.attributes.get_int("noop_with_empty_axes", 0) != 0:
        if node.op_type not in _KEEPS:
            return False
        spot.become("Identity", [spot.data()])
        return True
    changed = node.attributes.pop("noop_with_empty_axes", None) is not None
    if node.op_type == "ReduceSum" and wanted:
        return changed
    if given is not None:
        node.resize_inputs(1)
        changed = True
    if wanted:
        node.attributes["axes"] = ir.AttrInt64s("axes", wanted)
    return changed


def grid_sample_modes(spot: Spot) -> bool:
    """Opset 20 calls bilinear linear and bicubic cubic."""
    older = {"linear": "bilinear", "cubic": "bicubic"}
    mode = spot.node.attributes.get_string("mode", "linear")
    if mode not in older:
        return False
    spot.node.attributes["mode"] = ir.AttrString("mode", older[mode])
    return True


def shape_part(spot: Spot) -> bool:
    """From ``start`` to ``end`` of a shape, which the parser would give whole."""
    attributes = spot.node.attributes
    if not {"start", "end"} & set(attributes):
        return False
    start, end = attributes.get_int("start", 0), attributes.get_int("end", 1 << 30)
    if (start, end) == (0, 1 << 30):
        spot.pop("start")
        return True
    whole = spot.shape_of(spot.data())
    whole.shape = None if spot.data().shape is None else ir.Shape([len(spot.data().shape or ())])
    spot.deliver(spot.do("Slice", whole, spot.integers([start]), spot.integers([end]), spot.integers([0])))
    return True


def no_reduction(spot: Spot) -> bool:
    """Scatter's reduction, where it is the default."""
    if spot.node.attributes.get_string("reduction", "") != "none":
        return False
    spot.pop("reduction")
    return True


def hidden_size(spot: Spot) -> bool:
    """What the recurrence weights [directions, gates * size, size] tell, written down: the parser asks for it."""
    weights = spot.input(2)
    size = weights.shape[2] if weights is not None and weights.shape is not None else None
    if "hidden_size" in spot.node.attributes or not isinstance(size, int):
        return False
    spot.node.attributes["hidden_size"] = ir.AttrInt64("hidden_size", size)
    return True


def scan_axes_from_the_front(spot: Spot) -> bool:
    """Negative axes of a Scan, which the parser counts from the eighth, by the ranks of what is scanned and stacked."""
    node, changed = spot.node, False
    states = len(node.inputs) - node.attributes.get_int("num_scan_inputs", 0)
    for name, values in (("scan_input_axes", node.inputs[states:]), ("scan_output_axes", node.outputs[states:])):
        axes = list(node.attributes.get_ints(name, ()))
        ranks = [None if value is None or value.shape is None else len(value.shape) for value in values]
        counted = [axis + rank if axis < 0 and rank else axis for axis, rank in zip(axes, ranks, strict=False)]
        if counted != axes:
            node.attributes[name] = ir.AttrInt64s(name, counted)
            changed = True
    return changed


def constant_as_tensor(spot: Spot) -> bool:
    """Constants of single numbers and lists: the parser copies the bits of a float where an integer belongs."""
    node = spot.node
    if "value" in node.attributes or not node.attributes:
        return False
    tensor = ir.convenience.get_const_tensor(node.outputs[0])
    if tensor is None:
        return False
    node.attributes.clear()
    node.attributes["value"] = ir.AttrTensor("value", ir.Tensor(tensor.numpy(), name=node.outputs[0].name))
    return True
