"""Zero points beside the middle of the codes, which TensorRT refuses: the same scale where that is exact, else a range
around zero that holds the source's own.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphs.reading.constants import along
from graphs.reading.number_types import CODE_MAX
from graphs.reading.quantizers import Pair, Weight, pairs, weights
from graphs.reading.weighted import is_weighted, output_axis
from graphs.writing.edits import GraphEdits, drop_if_unread
from optimizer.prequantized.edges import (
    bypass_pair,
    clipped,
    listed,
    never_negative,
    read_before,
    removable,
    set_codes,
)


def symmetric_weights(model: ir.Model) -> list[str]:
    """int8 codes around 0 for every weight, in place; returns notes.

    Moved by their zero point, most codes still fit into int8, number for number. Channels that do not are rounded again
    with a scale of their own.
    """
    edits, exact, rounded = GraphEdits(model.graph), 0, list[str]()
    for weight in weights(model.graph):
        if weight.blocked or (weight.codes.dtype is ir.DataType.INT8 and not weight.zero.any()):
            continue
        steps = weight.codes.numpy().astype(np.int32) - weight.spread(weight.zero.astype(np.int32))
        if steps.min() >= -CODE_MAX - 1 and steps.max() <= CODE_MAX:
            _store(edits, weight, steps.astype(np.int8), weight.scale, weight.axis)
            exact += 1
        else:
            _store(edits, weight, *_again(weight, steps))
            rounded.append(str(weight.dequantize.outputs[0].name))
    notes = [f"{exact} weights with zero points moved to int8 around 0, number for number"] if exact else []
    if rounded:
        notes.append(
            f"{len(rounded)} weights span more than int8 holds around 0: the channels that do were rounded again, with "
            f"steps up to twice as wide: {listed(rounded)}"
        )
    return notes


def _again(weight: Weight, steps: np.ndarray) -> tuple[np.ndarray, np.ndarray, int | None]:
    """Codes, scales and their axis: a scale for each channel that needs a wider one, where channels have an axis."""
    axis = weight.axis if weight.axis is not None else _channels(weight)
    others = tuple(other for other in range(steps.ndim) if other != axis)
    reach = np.abs(steps).max(axis=others) if axis is not None else np.abs(steps).max()
    wider = np.maximum(reach / CODE_MAX, 1.0)
    codes = np.clip(np.rint(steps / along(wider, axis, steps.ndim)), -CODE_MAX, CODE_MAX).astype(np.int8)
    return codes, np.broadcast_to(weight.scale, wider.shape) * wider, axis


def _channels(weight: Weight) -> int | None:
    readers = [use.node for use in weight.dequantize.outputs[0].uses() if use.idx == 1 and is_weighted(use.node)]
    rank = len(weight.codes.shape)
    return output_axis(readers[0], rank) if readers and rank > 1 else None


def _store(edits: GraphEdits, weight: Weight, codes: np.ndarray, scale: np.ndarray, axis: int | None) -> None:
    node, name = weight.dequantize, weight.dequantize.outputs[0].name
    shape = () if axis is None else (-1,)
    old = list(node.inputs)
    made = [
        edits.constant(f"{name}/int8", codes),
        edits.constant(f"{name}/scale", scale.astype(np.float32).reshape(shape)),
        edits.constant(f"{name}/zero", np.zeros(scale.shape, np.int8).reshape(shape)),
    ]
    node.resize_inputs(3)
    for index, value in enumerate(made):
        node.replace_input_with(index, value)
    if axis is not None:
        node.attributes["axis"] = ir.AttrInt64("axis", axis)
    for unused in old:
        if unused is not None:
            drop_if_unread(edits.graph, unused)


def symmetric_activations(model: ir.Model) -> list[str]:
    """One scale around zero for every pair that has another zero point, in place; returns notes.

    The new range is the larger side of the old one. What had no code on the smaller side still has none: a ReLU, or a
    bound, says so.
    """
    edits, changed = GraphEdits(model.graph), dict[str, float]()
    for pair in pairs(model.graph):
        if not pair.symmetric:
            changed[str(pair.data.name)] = _coarser(pair)
            _symmetric(edits, pair)
    if not changed:
        return []
    worst = max(changed.values())
    return [
        f"{len(changed)} activations with zero points, which TensorRT refuses, have ranges around zero now, with steps "
        f"up to {worst:.1f} times as wide: {listed(changed)}"
    ]


def without_zero_points(model: ir.Model) -> list[str]:
    """Leave every such activation float, in place; returns notes. What a pair gave of one sign only stays so."""
    edits = GraphEdits(model.graph)
    gone: list[str] = []
    for pair in pairs(model.graph):
        if not pair.symmetric and removable(pair):
            gone.append(str(pair.data.name))
            bypass_pair(edits, pair)
    if not gone:
        return []
    return [
        f"{len(gone)} activations with zero points, which TensorRT refuses, stay float: ranges around zero would cost "
        f"more than --max-drop allows: {listed(gone)}"
    ]


def _coarser(pair: Pair) -> float:
    return max(-pair.low, pair.high) / CODE_MAX / pair.scale


def _symmetric(edits: GraphEdits, pair: Pair) -> None:
    largest = max(-pair.low, pair.high)
    step = largest / CODE_MAX
    low = pair.low if pair.low > -largest + step and not (pair.low == 0 and never_negative(pair.data)) else None
    high = pair.high if pair.high < largest - step else None
    if low is not None or high is not None:
        read_before(edits, pair, clipped(edits, pair.data, low, high))
    set_codes(edits, pair, step, ir.DataType.INT8, 0)
