"""Shift and scale activations channel by channel before they are quantized, exactly undone in the reader's weights.

``W·x + b = (W / m)·((x − c)·m) + (b + W·c)`` for any shift ``c`` and any positive scale ``m`` per channel. Four ideas
in one transform:

* *Zero-point folding.* TensorRT's codes are symmetric, so after ReLU, GELU or a sigmoid half the codes are never used;
  a shift to the middle of the range gives them back. Per channel it is Outlier Suppression+ (Wei et al. 2023).
* *SmoothQuant* (Xiao et al. 2022): ``m = w^(1−α) / a^α`` moves wide channels of the activation into the weights.
* *Outlier channels* alone brought down to a threshold, also from Outlier Suppression+; see ``transforms``.
* *Cross-layer equalization* (Nagel et al. 2019): where the op before and a depthwise reader have a weight scale per
  channel each, scaling channels to a common range costs neither anything.

A shift is exact only where every output sees the whole kernel (MatMul, Gemm, unpadded Conv). Candidates are judged by
the error they leave at the outputs of the ops that read the tensor, on activations they were not made from, and kept
only where they gain. The mean error counts as gone where the reader has a bias: bias correction takes it away.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeAlias

import onnx_ir as ir

from engines.engine import Feed
from engines.parallel import in_parallel
from graphs.reading.number_types import Floats
from graphs.reading.weighted import WeightedOp
from graphs.writing.edits import GraphEdits, values_by_name
from optimizer.quantization.channels import (
    can_add_bias,
    contraction_inputs,
    unpadded,
)
from optimizer.quantization.codes.scheme import TENSORRT, Scheme
from optimizer.quantization.corrections.absorption import Absorber, find_absorber
from optimizer.quantization.corrections.transform_trial import MIN_ROWS, Trial
from optimizer.quantization.corrections.transforms import WIDEST_OF_INPUT, Freedom, Transform, candidates, identity
from optimizer.quantization.judging.noise import decibels
from optimizer.quantization.observing.capture import Channels, capture_channels
from optimizer.quantization.observing.chunks import in_chunks
from optimizer.quantization.placement.insertion_points import ActivationPoint
from optimizer.quantization.rules.weighted import weighted_op

ROWS = 4096
"""Channel vectors captured per tensor: enough to meet the rare tokens that carry a transformer's outliers. Chosen."""
STORED_BYTES = 96 << 20
"""Channel vectors captured in one run over the feeds. Chosen."""
WORTH_FREE, WORTH_NODE = 0.95, 0.8
"""A transform is kept when it leaves at most this part of the error: a free one, and one that costs a node. Chosen."""
WORTH_UNSURE = 0.1
"""The same of a raw input, which may drift, and of few vectors, which tell no shift: what takes 10 dB away. Chosen."""
FEWEST_ROWS = 16
"""Vectors below which nothing is judged; rows of a table come one to a sample. Chosen."""
FINE = 1e-4
"""Relative error (40 dB) at which a tensor is left alone: a transform also ties the graph to the calibration data.
Chosen."""
Extremes: TypeAlias = Callable[[ir.Model, Mapping[str, int]], Mapping[str, tuple[Floats, Floats]]]
"""Names and channel axes of activations -> their channels' least and largest values."""
Decisions: TypeAlias = "dict[str, tuple[Transform, str]]"
"""Name of an activation -> what is done to it, and what is said of that."""
Deciding: TypeAlias = "Callable[[ir.Model, Scheme, Callable[[Sequence[Scheme]], list[Decisions]]], Decisions]"
"""Of a graph and one scheme, and of what decides for several at once: the decisions for that one."""
FINALISTS = 3
"""Candidates judged on all rows, the best by a quarter of them. Chosen."""


@dataclass(frozen=True)
class _Site:
    value: ir.Value
    ops: tuple[WeightedOp, ...]
    absorber: Absorber
    shiftable: bool


class EqualizeActivations:
    """Transforms the inputs of weighted ops where that lowers their quantization error.

    ``points`` come from a TensorRT placement; ``feeds`` are a few calibration samples. ``scheme`` tells how
    both operands will be rounded (shifting pays where activations are symmetric). ``extremes`` finds the ends of
    channels over more samples than are looked at here. ``deciding`` gives the decisions for a graph, asking what it is
    called with where they are not known: forms of one float graph share what is looked at. ``chosen`` are transforms
    decided on before: nothing is looked for then.
    """

    def __init__(
        self,
        points: Sequence[ActivationPoint],
        feeds: Sequence[Feed],
        *,
        scheme: Scheme = TENSORRT,
        seed: int = 0,
        extremes: Extremes | None = None,
        deciding: Deciding | None = None,
        chosen: Mapping[str, Transform] | None = None,
    ) -> None:
        self._points, self._feeds, self._scheme, self._seed = points, feeds, scheme, seed
        self._extremes, self._deciding = extremes, deciding or _each_for_itself
        self._known = chosen is not None
        self.chosen: dict[str, Transform] = dict(chosen or {})
        """By the name of the activation; filled by ``apply``."""

    def apply(self, model: ir.Model) -> dict[str, str]:
        """Transform every tensor that gains, in place; returns its name -> what was done."""
        if self._known:
            self.redo(model, self.chosen)
            return {name: f"{name}: {transform.describe()}, as before" for name, transform in self.chosen.items()}
        decided = self._deciding(model, self._scheme, partial(self._decided, model))
        self.chosen = {name: transform for name, (transform, _) in decided.items()}
        self.redo(model, self.chosen)
        return {name: note for name, (_, note) in decided.items()}

    def _decided(self, model: ir.Model, several: Sequence[Scheme]) -> list[Decisions]:
        """What pays, for each of ``several`` schemes; ``model`` is not changed: what is done at one tensor
        changes neither the values of another nor the weights that these are multiplied with.
        """
        found = list(_sites(model.graph, self._points))
        axes = {str(site.value.name): site.ops[0].data_axis for site in found}
        ends = self._extremes(model, axes) if self._extremes is not None else {}
        decided: list[Decisions] = [{} for _ in several]
        for sites in in_chunks(found, _row_bytes, STORED_BYTES):
            axes = {str(site.value.name): site.ops[0].data_axis for site in sites}
            captured = capture_channels(model, axes, self._feeds, rows=ROWS, seed=self._seed)
            seen = [
                (site, *captured[name], ends.get(name)) for site in sites if (name := str(site.value.name)) in captured
            ]
            improved = in_parallel(lambda one: _improved(*one, several), seen)
            for (site, *_), transforms in zip(seen, improved, strict=True):
                for decisions, transform in zip(decided, transforms, strict=True):
                    if transform is not None:
                        decisions[str(site.value.name)] = transform
        return decided

    def redo(self, model: ir.Model, places: Collection[str]) -> None:
        edits = GraphEdits(model.graph)
        for site in tuple(_sites(model.graph, self._points)):
            name = str(site.value.name)
            if name in places:
                transform = self.chosen[name]
                site.absorber.apply(edits, site.value, site.ops, transform.shift, transform.scale)


def _each_for_itself(_: ir.Model, scheme: Scheme, decide: Callable[[Sequence[Scheme]], list[Decisions]]) -> Decisions:
    return decide([scheme])[0]


def _improved(
    site: _Site,
    seen: Channels,
    unseen: Channels,
    ends: tuple[Floats, Floats] | None,
    several: Sequence[Scheme],
) -> list[tuple[Transform, str] | None]:
    """For each of ``several`` schemes what pays, and what is said of it; None where nothing does.

    Candidates are made from one half of the feeds and judged on the other, so that none wins by overfitting and
    channels that reach further in every new sample are found out; the winner is made once more from all.
    """
    rows = len(seen.rows) + len(unseen.rows)
    if rows < FEWEST_ROWS:
        return [None for _ in several]
    everything = seen.reaching(unseen.low, unseen.high)
    everything = everything.reaching(*ends) if ends is not None else everything
    first = Trial.of(site.ops, seen, unseen, several[0])
    unsure = site.absorber.raw or rows < MIN_ROWS
    site = replace(site, shiftable=site.shiftable and not unsure)
    worth = WORTH_UNSURE if unsure else WORTH_FREE if site.absorber.free else WORTH_NODE
    return [_best(site, replace(first, scheme=scheme), everything, worth) for scheme in several]


def _best(site: _Site, trial: Trial, everything: Channels, worth: float) -> tuple[Transform, str] | None:
    start = trial.error(identity(everything.rows.shape[1]))
    if start <= FINE * trial.signal:
        return None
    absorber, codes = site.absorber, trial.scheme.static
    freedom = Freedom(site.shiftable and codes.symmetric, absorber.one_landing, absorber.scales, absorber.ceiling)
    freedom = replace(freedom, widest=WIDEST_OF_INPUT) if absorber.raw else freedom
    tried = list(candidates(trial.seen, trial.weights, freedom, codes.numbers))
    rough = trial.on_fewer_rows()
    finalists = sorted(range(len(tried)), key=lambda index: rough.error(tried[index]))[:FINALISTS]
    best, winner = min((trial.error(tried[index]), index) for index in finalists)
    if best > worth * start:
        return None
    made = list(candidates(everything, trial.weights, freedom, codes.numbers))
    transform = made[winner] if len(made) == len(tried) else tried[winner]
    gain = decibels(start) - decibels(best)
    return transform, f"{site.value.name}: {transform.describe()}, {gain:.1f} dB less error at its readers"


def _sites(graph: ir.Graph, points: Sequence[ActivationPoint]) -> Iterator[_Site]:
    nodes = {str(node.name): node for node in graph}
    values = values_by_name(graph)
    for point in points:
        if any(use.index != 0 for use in point.uses):
            continue
        found = [weighted_op(nodes[use.node]) for use in point.uses]
        ops = tuple(op for op in found if isinstance(op, WeightedOp) and op.input_axis is not None)
        if len(ops) != len(found) or len({op.data_axis for op in ops}) != 1:
            continue
        absorber = find_absorber(values[point.tensor], ops)
        if absorber is not None:
            shiftable = all(unpadded(op) and can_add_bias(op) and not op.depthwise for op in ops)
            yield _Site(values[point.tensor], ops, absorber, shiftable)


def _row_bytes(site: _Site) -> int:
    """Bytes of a site's captured rows, in float32."""
    return 4 * ROWS * contraction_inputs(site.ops[0])
