"""Scan of opset 8 had a batch axis; since 9 it has none. The batch becomes a Scan of its own around the one of old."""

from __future__ import annotations

import onnx_ir as ir

from optimizer.importing.adapters.site import CannotConvert, Site


def scan_without_batch(site: Site) -> None:
    """``Scan(lens, states, inputs)`` over [batch, steps, ...] becomes a Scan over the batch of a Scan over the steps.

    Outputs of the old operator carry the batch in front, which is how the outer Scan stacks what the inner one gives.
    """
    node = site.node
    if site.input(0) is not None:
        raise CannotConvert("sequences of different lengths in one batch (sequence_lens) are not there in newer opsets")
    attribute = node.attributes["body"]
    body, scanned = attribute.as_graph(), node.attributes.get_int("num_scan_inputs", 0)
    values = [value for value in node.inputs[1:] if value is not None]
    flags = site.pop_ints("directions") or [0] * scanned
    slices = [_slice_of(value, f"{node.name}_{i}") for i, value in enumerate(values)]
    node.attributes.pop("body")
    inner = ir.node(
        "Scan",
        list(slices),
        {"num_scan_inputs": scanned, "scan_input_directions": flags},
        num_outputs=len(node.outputs),
        name=f"{node.name}_steps",
    )
    inner.attributes["body"] = ir.AttrGraph("body", body)
    for index, (value, outer) in enumerate(zip(inner.outputs, node.outputs, strict=True)):
        value.name, value.type = f"{node.name}_steps_{index}", outer.type
        if outer.shape is not None:
            value.shape = ir.Shape(list(outer.shape)[1:])
    batch = ir.Graph(slices, list(inner.outputs), nodes=[inner], name=f"{node.name}_batch")
    node.resize_inputs(len(values))
    for index, value in enumerate(values):
        node.replace_input_with(index, value)
    node.attributes.clear()
    node.attributes["body"] = ir.AttrGraph("body", batch)
    node.attributes["num_scan_inputs"] = ir.AttrInt64("num_scan_inputs", len(values))


def _slice_of(value: ir.Value, name: str) -> ir.Value:
    """One element of the batch."""
    shape = None if value.shape is None else ir.Shape(list(value.shape)[1:])
    kind = None if value.dtype is None else ir.TensorType(value.dtype)
    return ir.Value(name=name, type=kind, shape=shape)
