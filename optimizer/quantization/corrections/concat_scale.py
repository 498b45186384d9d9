"""Give the branches of a Concat like ranges, exactly: scale a branch down, its channels of the reader's weight up.

A quantized reader of a Concat sees one scale for all branches (rule 8). Where one branch is many times wider, the
others round to zero (the skip connections of a U-Net). Scaling a branch by a power of two and dividing the reader's
weights for those channels by it leaves the float result as it was; where a branch comes straight out of a weighted op
(through ReLU or none) the factor goes into that op's weights and costs nothing, elsewhere it is one Mul.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from calibration.table import CalibrationTable
from graphs.reading.weighted import WEIGHTED, WeightedOp
from graphs.writing.edits import GraphEdits, dtype_of
from optimizer.quantization.channels import (
    can_scale_outputs,
    scale_inputs,
    scale_outputs,
)
from optimizer.quantization.rules.guards import unlike
from optimizer.quantization.rules.weighted import weighted_op

_HOMOGENEOUS = frozenset({"Relu", "LeakyRelu"})
_WIDEST = 2.0**14
"""A branch this many times narrower than the widest is left alone: float16 would lose the others scaled down to it.
Chosen."""


@dataclass(frozen=True)
class _Join:
    concat: ir.Node
    readers: tuple[WeightedOp, ...]
    amaxes: tuple[float, ...]


class EqualizeConcatBranches:
    """Rescales unlike branches of Concats that only weighted ops read. ``table`` needs the branches' ranges."""

    def __init__(self, table: CalibrationTable) -> None:
        self._table = table

    def apply(self, model: ir.Model) -> dict[str, str]:
        """Rescale every Concat that needs it, in place; returns its name -> what was done."""
        return self._rescale_at(model, lambda _: True)

    def redo(self, model: ir.Model, places: Collection[str]) -> None:
        self._rescale_at(model, places.__contains__)

    def _rescale_at(self, model: ir.Model, wanted: Callable[[str], bool]) -> dict[str, str]:
        edits, notes = GraphEdits(model.graph), {}
        for node in tuple(model.graph):
            if node.op_type == "Concat" and wanted(str(node.name)) and (join := self._join(node)) is not None:
                notes[str(node.name)] = _rescale(edits, join)
        return notes

    def _join(self, concat: ir.Node) -> _Join | None:
        ops = _readers(concat)
        ranges = [self._table.tensors.get(str(value.name)) for value in concat.inputs if value is not None]
        known = [found.amax for found in ranges if found is not None]
        if not ops or len(known) != len(concat.inputs) or not all(map(math.isfinite, known)) or not unlike(known):
            return None
        return _Join(concat, ops, tuple(known))


def joined(model: ir.Model) -> set[str]:
    """The branches whose ranges tell whether a Concat needs rescaling: names of activations."""
    concats = [node for node in model.graph if node.op_type == "Concat" and _readers(node)]
    return {str(v.name) for node in concats for v in node.inputs if v is not None and v.const_value is None}


def _readers(concat: ir.Node) -> tuple[WeightedOp, ...]:
    """The weighted ops that read what is joined along their channels; none where anything else reads it too."""
    output = concat.outputs[0]
    readers = [weighted_op(use.node) if use.node.op_type in WEIGHTED and use.idx == 0 else "" for use in output.uses()]
    ops = tuple(op for op in readers if isinstance(op, WeightedOp) and op.input_axis is not None)
    fit = len(ops) == len(readers) and not output.is_graph_output()
    return ops if fit and all(_joins_channels(concat, op) for op in ops) else ()


def _joins_channels(concat: ir.Node, op: WeightedOp) -> bool:
    axis = concat.attributes["axis"].as_int()
    rank = len(concat.outputs[0].shape) if concat.outputs[0].shape is not None else None
    wanted = op.data_axis
    if rank is None:
        return axis == wanted and all(_width(value, axis) is not None for value in concat.inputs)
    return axis % rank == wanted % rank and all(_width(value, axis % rank) is not None for value in concat.inputs)


def _width(value: ir.Value | None, axis: int) -> int | None:
    if value is None or value.shape is None:
        return None
    width = value.shape[axis]
    return width if isinstance(width, int) else None


def _rescale(edits: GraphEdits, join: _Join) -> str:
    """Bring every branch to the range of one that cannot be scaled for free (else the smallest)."""
    concat = join.concat
    axis = concat.attributes["axis"].as_int()
    free = [_scalable(value) for value in concat.inputs]
    widest = max(join.amaxes)
    live = [amax >= widest / _WIDEST for amax in join.amaxes]
    fixed = [amax for amax, op, alive in zip(join.amaxes, free, live, strict=True) if op is None and alive]
    target = min(fixed or [amax for amax, alive in zip(join.amaxes, live, strict=True) if alive])
    factors = [
        2.0 ** round(math.log2(target / amax)) if alive else 1.0 for amax, alive in zip(join.amaxes, live, strict=True)
    ]
    inverse = []
    for index, (factor, op) in enumerate(zip(factors, free, strict=True)):
        width = _width(concat.inputs[index], axis)
        assert width is not None
        inverse.append(np.full(width, 1 / factor, np.float32))
        if factor == 1.0:
            continue
        if op is not None:
            scale_outputs(edits, op, np.full(op.channels, factor, np.float32))
        else:
            _multiply(edits, concat, index, factor)
    for reader in join.readers:
        scale_inputs(edits, reader, np.concatenate(inverse))
    ranges = ", ".join(f"±{amax:.3g}" for amax in join.amaxes)
    return f"{concat.name}: branches with ranges {ranges} scaled by {', '.join(f'{f:g}' for f in factors)}"


def _scalable(value: ir.Value | None) -> WeightedOp | None:
    """The weighted op behind ``value`` whose outputs can be scaled instead of ``value`` itself."""
    while value is not None and len(value.uses()) == 1 and not value.is_graph_output():
        producer = value.producer()
        if producer is None:
            return None
        if producer.op_type in WEIGHTED and producer.op_type != "MatMul":
            op = weighted_op(producer)
            return op if isinstance(op, WeightedOp) and len(op.weight.uses()) == 1 and can_scale_outputs(op) else None
        value = producer.inputs[0] if producer.op_type in _HOMOGENEOUS else None
    return None


def _multiply(edits: GraphEdits, concat: ir.Node, index: int, factor: float) -> None:
    value = concat.inputs[index]
    assert value is not None
    name, dtype = f"{concat.name}/branch{index}", dtype_of(value)
    by = edits.constant(f"{name}/factor", np.float32(factor), dtype)
    node = edits.node("Mul", [value, by], f"{name}/scale", f"{name}/scaled", dtype, value.shape)
    edits.graph.insert_before(concat, node)
    concat.replace_input_with(index, node.outputs[0])
