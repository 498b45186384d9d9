"""Layer by layer: the two of every four weights to keep, and their values, from what the layer's inputs say.

Each weight is solved for (``reconstruction.solver``) against the rows that it will see: those of a model whose earlier
layers are pruned already, beside the float model's own, so that a layer makes up for the error of those before it as
well. Biases take the mean error away. Running the beginning of a model again for every layer would cost the square of
its depth, so layers go in *waves*, as many as ``RUN_MACS`` pay for: rows of one wave come from one run.

A layer's moments are [reduction, reduction], added up row by row and gone when it is solved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil

import numpy as np
import onnx_ir as ir

from engines.engine import Array, Feed
from engines.onnxruntime.graph import running_many
from graphs.cutting.taps import exposed
from graphs.reading.number_types import Floats
from graphs.reading.shapes import nominal_bytes
from graphs.reading.weighted import WeightedOp, output_axis
from graphs.storage.saving import weight_bytes
from graphs.writing.edits import GraphEdits
from optimizer.attempt import attempt
from optimizer.quantization.channels import add_to_bias, can_add_bias
from optimizer.quantization.codes.weights import as_float32
from optimizer.quantization.observing.chunks import in_chunks
from optimizer.quantization.observing.patches import RowSampler, geometry
from optimizer.reconstruction.layout import as_rows, as_tensor, fours_of
from optimizer.reconstruction.moments import MomentSums
from optimizer.reconstruction.solver import error_of, refined, solve, swapped
from optimizer.sparsity.eligible import SparseWeight
from optimizer.sparsity.magnitude import give_weight, prune_weight
from optimizer.sparsity.pattern import prune_two_four

RUN_MACS = 1e13
"""Multiply-accumulates that running the models for rows may take (both models, half of each on average): two or three
minutes of two cores. Chosen."""
WRITTEN_BYTES = 4e10
"""Bytes of weights that may be written for those runs, both models each time: large models go in fewer waves.
Chosen."""
SOLVED_WORK = 4e13
"""And those of moments and solutions together, five to ten minutes of two cores: where full solutions take more, layers
are gone through once, and weights for which that is too much as well are pruned by magnitude. Chosen."""
MAX_REDUCTION = 8192
"""Longest dot product solved: its moments are 0.8 GB with their factor, and the factorization cubic. Chosen."""
ROWS_PER_WEIGHT, FEWEST_ROWS = 8, 8192
"""Rows captured of a layer, for each of its reduction and at least: more tell little that is new. Chosen."""
CHUNK_BYTES = 512 << 20
"""Moments and activations of the layers solved from one run over the samples stay below this. Chosen."""
_BUFFERED = 1024
"""Rows multiplied at a time: a product of few rows is bound by memory. Chosen."""
_SWEEPS = 3
"""Times that the fours are gone through before the values kept are solved for; later ones swap next to none. Chosen."""
_PASSES, _PASSES_OF_A_FULL_SOLUTION = 4, 60
"""Products of [outputs, reduction] with the Hessian that a solution takes: gone through once, and in all its steps.
Chosen."""

Store = Callable[[Array], Array]
"""Keeps a weight, in memory or in a file, and gives it back."""


@dataclass(frozen=True)
class Solved:
    """What became of a weight: the error of its outputs relative to their variance, by magnitude and as solved."""

    by_magnitude: float
    reconstructed: float


@dataclass(frozen=True)
class _Layer:
    """A weight, its readers in the float model and in the one being pruned."""

    weight: SparseWeight
    plain: tuple[WeightedOp, ...]

    @property
    def op(self) -> WeightedOp:
        return self.plain[0]

    @property
    def name(self) -> str:
        return self.weight.name

    def rows_wanted(self) -> int:
        return max(ROWS_PER_WEIGHT * self.op.reduction, FEWEST_ROWS)

    def work(self, full: bool) -> float:
        """Multiply-accumulates of its moments and solution, at most."""
        size, passes = self.op.reduction, _PASSES_OF_A_FULL_SOLUTION if full else _PASSES
        return float(size**2 * (2 * self.rows_wanted() + 2 * size + passes * self.op.channels))

    def bytes(self) -> int:
        """Of its moments and of one feed's activations."""
        return 8 * self.op.reduction**2 + 2 * nominal_bytes(_data(self.op.node))


def reconstruct(
    model: ir.Model,
    weights: Sequence[SparseWeight],
    feeds: Sequence[Feed],
    macs: int,
    *,
    seed: int = 0,
    store: Store = lambda array: array,
    on_layer: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[ir.Model, dict[str, Solved], list[str]]:
    """A copy of ``model`` (weights shared) with the prunable ``weights``, which are its own, 2:4 and made good.

    Returns what became of each weight that was solved for, by its first node's name, and notes on those that were
    not: they are pruned by magnitude. ``macs`` are the model's per sample.
    """
    pruned = model.clone()
    layers, notes = _layers(model, weights)
    full = sum(layer.work(full=True) for layer in layers) <= SOLVED_WORK
    found: dict[str, Solved] = {}
    edits, nodes = GraphEdits(pruned.graph), {str(n.name): n for g in pruned.graphs() for n in g}
    done, total = 0, sum(weight.prunable for weight in weights)
    for weight in weights:
        if weight.prunable and weight.name not in {layer.name for layer in layers}:
            prune_weight(edits, _in(weight, nodes))
            done += 1
    for wave in _waves(layers, macs * len(feeds), 2 * weight_bytes(model)):
        for chunk in in_chunks(wave, _Layer.bytes, CHUNK_BYTES):
            sums = _moments(model, pruned, nodes, chunk, feeds, seed)
            for layer in chunk:
                mine = _in(layer.weight, nodes)
                make = partial(_solved, layer, sums.pop(layer.name), edits, mine, store, full)
                solved, failed = attempt(f"reconstruction of {layer.name}", make, None)
                if solved is None:
                    prune_weight(edits, mine)
                else:
                    found[layer.name] = solved
                notes += failed
                done += 1
                on_layer(done, total)
    return pruned, found, notes


def _layers(model: ir.Model, weights: Sequence[SparseWeight]) -> tuple[list[_Layer], list[str]]:
    """The weights that can be solved for, in the order of the graph; and why the others cannot."""
    position = {node: index for index, node in enumerate(model.graph)}
    layers: list[_Layer] = []
    notes: list[str] = []
    left = SOLVED_WORK
    for weight in sorted(
        (weight for weight in weights if weight.prunable), key=lambda weight: position.get(weight.nodes[0], -1)
    ):
        layer = _Layer(weight, tuple(_op(node, weight) for node in weight.nodes))
        reason = _unsolvable(layer, position, left)
        if reason:
            notes.append(f"{weight.name}: pruned by magnitude alone: {reason}")
        else:
            layers.append(layer)
            left -= layer.work(full=False)
    return layers, notes


def _op(node: ir.Node, weight: SparseWeight) -> WeightedOp:
    axis = output_axis(node, len(weight.shape))
    channels = weight.shape[axis]
    return WeightedOp(node, axis, channels, int(np.prod(weight.shape)) // max(channels, 1))


def _unsolvable(layer: _Layer, position: Mapping[ir.Node, int], left: float) -> str:
    op = layer.op
    if any(node not in position for node in layer.weight.nodes):
        return "it stands in a branch or a loop"
    if op.node.op_type == "MatMul" and len(layer.weight.shape) != 2:
        return "a stack of matrices"
    if op.node.op_type == "Gemm" and (
        bool(op.node.attributes.get_int("transA", 0)) or op.node.attributes.get_float("alpha", 1.0) != 1.0
    ):
        return "a Gemm with transA or alpha"
    if op.node.op_type == "Conv" and geometry(op) is None:
        return "padding that depends on the input"
    if op.reduction > MAX_REDUCTION:
        return f"its dot product of {op.reduction} is longer than {MAX_REDUCTION}"
    return "" if layer.work(full=False) <= left else "the work set aside for reconstruction is used up"


def _waves(layers: Sequence[_Layer], macs: float, written: int) -> Iterator[list[_Layer]]:
    """Consecutive layers, in as many runs as ``RUN_MACS`` and ``WRITTEN_BYTES`` pay for, each run of both models being
    of ``macs`` on average and writing ``written`` bytes; those that read one tensor stay together.
    """
    levels: dict[str, list[_Layer]] = {}
    for layer in layers:
        levels.setdefault(str(_data(layer.op.node).name), []).append(layer)
    count = int(max(min(RUN_MACS / max(macs, 1), WRITTEN_BYTES / max(written, 1), len(levels)), 1))
    each = max(ceil(len(levels) / count), 1)
    grouped = list(levels.values())
    for start in range(0, len(grouped), each):
        yield [layer for level in grouped[start : start + each] for layer in level]


def _moments(
    model: ir.Model,
    pruned: ir.Model,
    nodes: Mapping[str, ir.Node],
    layers: Sequence[_Layer],
    feeds: Sequence[Feed],
    seed: int,
) -> dict[str, MomentSums]:
    """Of each layer's rows in both models, by its name."""
    buffers = {layer.name: _Buffer(MomentSums(layer.op.reduction)) for layer in layers}
    sampler = RowSampler(feeds, seed)
    reads = [(layer, op, _data(op.node), _data(nodes[str(op.node.name)])) for layer in layers for op in layer.plain]
    with (
        exposed(model, list(dict.fromkeys(plain for *_, plain, _ in reads))),
        exposed(pruned, list(dict.fromkeys(noisy for *_, noisy in reads))),
        running_many(model, len(feeds)) as run_plain,
        running_many(pruned, len(feeds)) as run_noisy,
    ):
        for index, (plain, noisy) in enumerate(zip(run_plain(feeds), run_noisy(feeds), strict=True)):
            for layer, op, before, after in reads:
                count = max(layer.rows_wanted() // (len(feeds) * len(layer.plain)), 1)
                pair = [
                    sampler.rows(op, values[str(value.name)], count, index)[:, 0]
                    for values, value in ((plain, before), (noisy, after))
                ]
                buffers[layer.name].add(pair[0], pair[1])
    return {name: buffer.flushed() for name, buffer in buffers.items()}


class _Buffer:
    """Rows on their way into ``sums``."""

    def __init__(self, sums: MomentSums) -> None:
        self._sums, self._rows = sums, list[tuple[Floats, Floats]]()

    def add(self, plain: Floats, noisy: Floats) -> None:
        self._rows.append((plain, noisy))
        if sum(len(rows) for rows, _ in self._rows) >= _BUFFERED:
            self.flushed()

    def flushed(self) -> MomentSums:
        if self._rows:
            self._sums.add(*(np.concatenate(side) for side in zip(*self._rows, strict=True)))
        self._rows = []
        return self._sums


def _solved(layer: _Layer, sums: MomentSums, edits: GraphEdits, mine: SparseWeight, store: Store, full: bool) -> Solved:
    """Solve for one weight and give it to its readers in the pruned model."""
    op = layer.op
    biased = len(mine.nodes) == 1 and can_add_bias(_op(mine.nodes[0], layer.weight))
    moments, means = sums.taken(biased)
    if not np.isfinite(moments.hessian).all() or not np.isfinite(moments.cross).all():
        raise ValueError("its inputs are not finite")
    weight, fours = as_rows(op, as_float32(op.tensor))[None], fours_of(op)
    target = moments.compensated(weight)
    found = two_four(target, moments.hessian, fours) if full else solve(target, moments.hessian, fours=fours)
    magnitude = as_rows(op, prune_two_four(as_float32(op.tensor), layer.weight.axis))[None]
    variance = float(np.vdot(weight @ moments.hessian, weight)) or 1.0
    errors = [float(error_of(target, moments.hessian, values).sum()) / variance for values in (magnitude, found)]
    dtype = op.tensor.dtype.numpy()
    kept = store(np.asarray(as_tensor(op, found[0]), dtype))
    give_weight(edits, mine, lambda _: kept)
    if biased:
        add_to_bias(edits, _op(mine.nodes[0], layer.weight), means.bias(weight, found)[0])
    return Solved(*errors)


def two_four(target: Floats, hessian: Floats, fours: np.ndarray[tuple[int, ...], np.dtype[np.intp]]) -> Floats:
    """``target`` [groups, outputs, inputs] in the 2:4 pattern, with as little error of the outputs as is found."""
    found = solve(target, hessian, fours=fours)
    found = refined(target, hessian, swapped(target, hessian, found, fours, sweeps=_SWEEPS))
    return refined(target, hessian, swapped(target, hessian, found, fours))


def _in(weight: SparseWeight, nodes: Mapping[str, ir.Node]) -> SparseWeight:
    """``weight`` as it stands in another copy of the graph."""
    return SparseWeight(tuple(nodes[str(node.name)] for node in weight.nodes), weight.axis, weight.shape)


def _data(node: ir.Node) -> ir.Value:
    value = node.inputs[0]
    assert value is not None
    return value
