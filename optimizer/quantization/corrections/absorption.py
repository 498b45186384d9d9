"""Where a shift and a scale of an activation go: into the op that makes it where that is exact, else into nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
import onnx_ir as ir

from optimizer.quantization.channels import (
    add_to_bias,
    can_add_bias,
    contraction,
    data_axis,
    scale_inputs,
    scale_outputs,
)
from optimizer.quantization.graph_edits import after, constant, describe
from optimizer.quantization.rules.weighted import WEIGHTED, WeightedOp, constant_of, weighted_op
from optimizer.quantization.weights import Floats, as_float32


class _Kind(Enum):
    NORM = "the gain and bias of a LayerNormalization"
    LINEAR = "the weights of the op before"
    RELU = "the weights before a ReLU; the shift becomes its lower bound"
    CLIP = "the weights before a Clip and its bounds"
    NODES = "a Mul and an Add that pointwise fusion takes in"


@dataclass(frozen=True)
class Absorber:
    """How a transform reaches the graph, and which transforms it can express."""

    kind: _Kind
    source: ir.Node | None = None
    op: WeightedOp | None = None

    @property
    def free(self) -> bool:
        return self.kind is not _Kind.NODES

    @property
    def shift_per_channel(self) -> bool:
        return self.kind in (_Kind.NORM, _Kind.LINEAR, _Kind.NODES)

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
        self, graph: ir.Graph, value: ir.Value, readers: Sequence[WeightedOp], shift: Floats, scale: Floats
    ) -> None:
        """Rewrite the producer of ``value`` and its ``readers`` for ``x' = (x − shift)·scale``."""
        for reader in readers:
            if shift.any():
                matrix = contraction(reader, as_float32(reader.tensor))
                taps = matrix.shape[1] // reader.channels
                add_to_bias(graph, reader, (shift @ matrix).reshape(-1, taps).sum(axis=1))
            if (scale != 1).any():
                scale_inputs(graph, reader, (1 / scale).astype(np.float32))
        if self.kind is _Kind.NODES:
            _insert_nodes(graph, value, readers, shift, scale)
        elif self.kind is _Kind.NORM:
            _into_norm(graph, self.source, shift, scale)
        else:
            self._into_op(graph, shift, scale)

    def _into_op(self, graph: ir.Graph, shift: Floats, scale: Floats) -> None:
        assert self.op is not None
        if (scale != 1).any():
            scale_outputs(graph, self.op, scale)
        if shift.any():
            add_to_bias(graph, self.op, -shift * scale)
            if self.source is not None and self.kind in (_Kind.RELU, _Kind.CLIP):
                _move_bounds(graph, self.source, float(shift[0] * scale[0]))


def find_absorber(value: ir.Value, readers: Sequence[WeightedOp]) -> Absorber | None:
    """The cheapest place for a transform of ``value`` as ``readers`` see it; None where none is acceptable.

    A convolution's activation stays contiguous with it (rule 5), so behind a convolution only a free place counts.
    """
    producer = value.producer()
    alone = len(value.uses()) == len(readers) and not value.is_graph_output()
    feeds_convolution = any(data_axis(reader) == 1 for reader in readers)
    if producer is None:
        return (
            None  # raw inputs drift between data sets: per-channel numbers would tie the graph to the calibration data
        )
    if alone and producer.op_type == "LayerNormalization" and _norm_is_ours(producer, value):
        return Absorber(_Kind.NORM, producer)
    if alone and (found := _behind_weighted(producer, value)) is not None:
        return found
    return None if feeds_convolution else Absorber(_Kind.NODES)


def _behind_weighted(producer: ir.Node, value: ir.Value) -> Absorber | None:
    if producer.op_type in WEIGHTED:
        op = _own_op(producer)
        return Absorber(_Kind.LINEAR, None, op) if op is not None else None
    if producer.op_type not in ("Relu", "Clip") or producer.inputs[0] is None:
        return None
    if producer.op_type == "Clip" and not _constant_bounds(producer):
        return None
    before = producer.inputs[0].producer()
    if before is None or len(producer.inputs[0].uses()) != 1 or producer.inputs[0].is_graph_output():
        return None
    op = _own_op(before)
    kind = _Kind.RELU if producer.op_type == "Relu" else _Kind.CLIP
    return Absorber(kind, producer, op) if op is not None else None


def _own_op(node: ir.Node) -> WeightedOp | None:
    """A weighted op whose weight and bias may be changed (channels of a MatMul are left alone: its bias is a node)."""
    if node.op_type not in ("Conv", "Gemm"):
        return None
    op = weighted_op(node)
    if not isinstance(op, WeightedOp) or not can_add_bias(op) or len(op.weight.uses()) != 1:
        return None
    return op


def _constant_bounds(clip: ir.Node) -> bool:
    return all(value is None or constant_of(value) is not None for value in clip.inputs[1:])


def _norm_is_ours(norm: ir.Node, value: ir.Value) -> bool:
    parameters = norm.inputs[1:3]
    axis = norm.attributes.get("axis")
    last = axis is None or axis.as_int() == -1
    return (
        last
        and len(parameters) > 0
        and all(constant_of(p) is not None for p in parameters)
        and norm.outputs[0] is value
    )


def _into_norm(graph: ir.Graph, norm: ir.Node | None, shift: Floats, scale: Floats) -> None:
    assert norm is not None and norm.inputs[1] is not None
    gain = constant_of(norm.inputs[1])
    bias = constant_of(norm.inputs[2]) if len(norm.inputs) > 2 else None
    assert gain is not None
    old_bias = as_float32(bias) if bias is not None else np.zeros_like(shift)
    norm.replace_input_with(1, constant(graph, f"{norm.name}/gain", as_float32(gain) * scale, gain.dtype))
    if len(norm.inputs) < 3:
        norm.resize_inputs(3)
    norm.replace_input_with(2, constant(graph, f"{norm.name}/bias", (old_bias - shift) * scale, gain.dtype))


def _move_bounds(graph: ir.Graph, node: ir.Node, shift: float) -> None:
    """ReLU or Clip of ``x`` becomes Clip of ``x − shift`` with both bounds moved along."""
    bounds = [0.0, None] if node.op_type == "Relu" else [_bound(node, 1), _bound(node, 2)]
    value = node.inputs[0]
    assert value is not None
    dtype = value.dtype or ir.DataType.FLOAT
    moved = [
        constant(graph, f"{node.name}/{name}", np.float32(bound - shift), dtype) if bound is not None else None
        for name, bound in zip(("lower", "upper"), bounds, strict=True)
    ]
    clip = ir.node("Clip", [value, *moved[: 2 if moved[1] is not None else 1]], name=f"{node.name}")
    output = node.outputs[0]
    describe(clip.outputs[0], f"{output.name}/shifted", dtype, output.shape)
    graph.insert_after(node, clip)
    for use in tuple(output.uses()):
        use.node.replace_input_with(use.idx, clip.outputs[0])
    graph.remove(node, safe=True)


def _bound(clip: ir.Node, index: int) -> float | None:
    tensor = constant_of(clip.inputs[index]) if len(clip.inputs) > index else None
    return float(tensor.numpy()) if tensor is not None else None


def _insert_nodes(
    graph: ir.Graph, value: ir.Value, readers: Sequence[WeightedOp], shift: Floats, scale: Floats
) -> None:
    """``Mul`` by ``scale`` then ``Add`` of ``−shift·scale`` for ``readers`` only; other readers keep ``value``."""
    dtype = value.dtype or ir.DataType.FLOAT
    current, nodes = value, []
    for op_type, operand, wanted in (
        ("Mul", scale, (scale != 1).any()),
        ("Add", -shift * scale, shift.any()),
    ):
        if not wanted:
            continue
        name = f"{value.name}/{'scale' if op_type == 'Mul' else 'shift'}_channels"
        flat = operand if len(np.unique(operand)) > 1 else operand[:1]
        node = ir.node(op_type, [current, constant(graph, f"{name}/by", flat, dtype)], name=name)
        describe(node.outputs[0], f"{name}/out", dtype, value.shape)
        current = node.outputs[0]
        nodes.append(node)
    after(graph, value, nodes)
    for reader in readers:
        reader.node.replace_input_with(0, current)
