"""Where a shift and a scale of an activation go: into the op that makes it where that is exact, else into nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
import onnx_ir as ir

from graphs.reading.constants import constant_tensor
from graphs.reading.number_types import Floats
from graphs.reading.weighted import WEIGHTED, WeightedOp
from graphs.writing.edits import GraphEdits, after, dtype_of
from optimizer.quantization.channels import (
    add_to_bias,
    can_add_bias,
    contraction,
    scale_inputs,
    scale_outputs,
)
from optimizer.quantization.codes.weights import as_float32
from optimizer.quantization.rules.weighted import weighted_op

_UNBOUNDED = 1e30
"""Upper bounds from here on are none: exporters write float32's largest value. Chosen."""


class _Kind(Enum):
    NORM = "the gain and bias of a LayerNormalization"
    LINEAR = "the weights of the op before"
    RELU = "the weights before a ReLU; the shift becomes its lower bound"
    CLIP = "the weights before a Clip and its bounds"
    NODES = "a Mul and an Add that pointwise fusion takes in"
    INPUT = "a Mul of a raw input"


@dataclass(frozen=True)
class Absorber:
    """How a transform reaches the graph, and which transforms it can express."""

    kind: _Kind
    source: ir.Node | None = None
    op: WeightedOp | None = None

    @property
    def free(self) -> bool:
        return self.kind not in (_Kind.NODES, _Kind.INPUT)

    @property
    def raw(self) -> bool:
        """Whether it is a raw input that is transformed: what calibration saw of it ties the graph to those data."""
        return self.kind is _Kind.INPUT

    @property
    def one_landing(self) -> bool:
        """Whether zeros of all channels must land on one number, ``−shift·scale``: the scalar bound of a Clip."""
        return self.kind in (_Kind.RELU, _Kind.CLIP)

    @property
    def scales(self) -> bool:
        return self.kind is not _Kind.CLIP

    @property
    def ceiling(self) -> float | None:
        """The upper bound of a Clip whose lower one is zero: channels may be scaled up under it."""
        if self.kind is not _Kind.CLIP or self.source is None or _bound(self.source, 1) != 0:
            return None
        return _bound(self.source, 2)

    def apply(
        self, edits: GraphEdits, value: ir.Value, readers: Sequence[WeightedOp], shift: Floats, scale: Floats
    ) -> None:
        """Rewrite the producer of ``value`` and its ``readers`` for ``x' = (x − shift)·scale``."""
        for reader in readers:
            if shift.any():
                matrix = contraction(reader, as_float32(reader.tensor))
                taps = matrix.shape[1] // reader.channels
                add_to_bias(edits, reader, (shift @ matrix).reshape(-1, taps).sum(axis=1))
            if (scale != 1).any():
                scale_inputs(edits, reader, (1 / scale).astype(np.float32))
        if not self.free:
            _insert_nodes(edits, value, readers, shift, scale)
        elif self.kind is _Kind.NORM:
            _into_norm(edits, self.source, shift, scale)
        else:
            self._into_op(edits, shift, scale)

    def _into_op(self, edits: GraphEdits, shift: Floats, scale: Floats) -> None:
        assert self.op is not None
        if (scale != 1).any():
            scale_outputs(edits, self.op, scale)
        if shift.any():
            add_to_bias(edits, self.op, -shift * scale)
            if self.source is not None and self.one_landing:
                _move_bounds(edits, self.source, float(np.mean(shift * scale)))


def find_absorber(value: ir.Value, readers: Sequence[WeightedOp]) -> Absorber | None:
    """The cheapest place for a transform of ``value`` as ``readers`` see it; None where none is acceptable.

    A convolution's activation stays contiguous with it (rule 5), so behind a convolution only a free place counts.
    Raw inputs drift between data sets, and per-channel numbers tie the graph to these: they are scaled where much is
    gained by it, as of a table whose columns are seconds, years and amounts.
    """
    producer = value.producer()
    if producer is None:
        return Absorber(_Kind.INPUT) if value.is_graph_input() and value.shape is not None else None
    alone = len(value.uses()) == len(readers) and not value.is_graph_output()
    axis = readers[0].data_axis
    found = (_in_norm(producer, value, axis) or _behind_weighted(producer, value, axis)) if alone else None
    if found is not None:
        return found
    feeds_convolution = any(reader.data_axis == 1 for reader in readers)
    return None if feeds_convolution else Absorber(_Kind.NODES)


def _behind_weighted(producer: ir.Node, value: ir.Value, axis: int) -> Absorber | None:
    if producer.op_type in WEIGHTED:
        op = _own_op(producer, value, axis)
        return Absorber(_Kind.LINEAR, None, op) if op is not None else None
    if producer.op_type not in ("Relu", "Clip") or producer.inputs[0] is None:
        return None
    if producer.op_type == "Clip" and not _constant_bounds(producer):
        return None
    before = producer.inputs[0].producer()
    if before is None or len(producer.inputs[0].uses()) != 1 or producer.inputs[0].is_graph_output():
        return None
    op = _own_op(before, value, axis)
    kind = _Kind.RELU if _is_relu(producer) else _Kind.CLIP
    return Absorber(kind, producer, op) if op is not None else None


def _own_op(node: ir.Node, value: ir.Value, axis: int) -> WeightedOp | None:
    """A weighted op whose weight and bias may be changed, its output channels along ``axis`` of ``value`` (channels of
    a MatMul are left alone: its bias is a node).
    """
    if node.op_type not in ("Conv", "Gemm"):
        return None
    op = weighted_op(node)
    if not isinstance(op, WeightedOp) or not can_add_bias(op) or len(op.weight.uses()) != 1:
        return None
    return op if _is_axis(value, axis, 1) else None


def _is_axis(value: ir.Value, axis: int, wanted: int) -> bool:
    """Whether ``axis`` and ``wanted``, either of which may count from the end, are one axis of ``value``."""
    if axis == wanted:
        return True
    rank = value.shape.rank() if value.shape is not None else 0
    return rank > 0 and axis % rank == wanted % rank


def _is_relu(node: ir.Node) -> bool:
    """A Relu, or a Clip from zero to nowhere."""
    if node.op_type == "Relu":
        return True
    upper = _bound(node, 2)
    return _bound(node, 1) == 0 and (upper is None or upper >= _UNBOUNDED)


def _constant_bounds(clip: ir.Node) -> bool:
    return all(value is None or constant_tensor(value) is not None for value in clip.inputs[1:])


def _in_norm(norm: ir.Node, value: ir.Value, axis: int) -> Absorber | None:
    """A LayerNormalization over the last axis alone, with constant gain and bias, whose first output is ``value``."""
    if norm.op_type != "LayerNormalization" or norm.outputs[0] is not value:
        return None
    parameters, over = norm.inputs[1:3], norm.attributes.get("axis")
    first = over.as_int() if over is not None else -1
    constant = len(parameters) > 0 and all(p is None or constant_tensor(p) is not None for p in parameters)
    ours = constant and _is_axis(value, first, -1) and _is_axis(value, axis, -1)
    return Absorber(_Kind.NORM, norm) if ours else None


def _into_norm(edits: GraphEdits, norm: ir.Node | None, shift: Floats, scale: Floats) -> None:
    assert norm is not None and norm.inputs[1] is not None
    gain = constant_tensor(norm.inputs[1])
    bias = constant_tensor(norm.inputs[2]) if len(norm.inputs) > 2 else None
    assert gain is not None
    old_bias = as_float32(bias) if bias is not None else np.zeros_like(shift)
    norm.replace_input_with(1, edits.constant(f"{norm.name}/gain", as_float32(gain) * scale, gain.dtype))
    if len(norm.inputs) < 3:
        norm.resize_inputs(3)
    norm.replace_input_with(2, edits.constant(f"{norm.name}/bias", (old_bias - shift) * scale, gain.dtype))


def _move_bounds(edits: GraphEdits, node: ir.Node, shift: float) -> None:
    """ReLU or Clip of ``x`` becomes Clip of ``x − shift`` with both bounds moved along."""
    bounds = [0.0, None] if _is_relu(node) else [_bound(node, 1), _bound(node, 2)]
    value, output, graph = node.inputs[0], node.outputs[0], edits.graph
    assert value is not None
    dtype = dtype_of(value)
    moved = [
        edits.constant(f"{node.name}/{name}", np.float32(bound - shift), dtype) if bound is not None else None
        for name, bound in zip(("lower", "upper"), bounds, strict=True)
    ]
    operands = [value, *moved[: 2 if moved[1] is not None else 1]]
    clip = edits.node("Clip", operands, str(node.name), f"{output.name}/shifted", dtype, output.shape)
    graph.insert_after(node, clip)
    for use in tuple(output.uses()):
        use.node.replace_input_with(use.idx, clip.outputs[0])
    graph.remove(node, safe=True)
    clip.name = node.name


def _bound(clip: ir.Node, index: int) -> float | None:
    tensor = constant_tensor(clip.inputs[index]) if len(clip.inputs) > index else None
    return float(tensor.numpy().reshape(-1)[0]) if tensor is not None and tensor.size else None


def _insert_nodes(
    edits: GraphEdits, value: ir.Value, readers: Sequence[WeightedOp], shift: Floats, scale: Floats
) -> None:
    """``Mul`` by ``scale`` then ``Add`` of ``−shift·scale`` for ``readers`` only; other readers keep ``value``."""
    dtype, axis = dtype_of(value), readers[0].data_axis
    behind = value.shape.rank() - 1 - axis if axis >= 0 and value.shape is not None else -1 - axis
    current, nodes = value, []
    for op_type, operand, wanted in (
        ("Mul", scale, (scale != 1).any()),
        ("Add", -shift * scale, shift.any()),
    ):
        if not wanted:
            continue
        name = f"{value.name}/{'scale' if op_type == 'Mul' else 'shift'}_channels"
        flat = operand if len(np.unique(operand)) > 1 else operand[:1]
        by = edits.constant(f"{name}/by", flat.reshape(-1, *[1] * behind), dtype)
        node = edits.node(op_type, [current, by], name, f"{name}/out", dtype, value.shape)
        current = node.outputs[0]
        nodes.append(node)
    after(edits.graph, value, nodes)
    for reader in readers:
        reader.node.replace_input_with(0, current)
