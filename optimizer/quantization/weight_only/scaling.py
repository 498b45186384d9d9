"""Inputs scaled so that the weights that matter most are rounded most finely (AWQ, Lin et al. 2023), exactly undone.

A few channels of the data are large, and an error of their weights counts most. ``W·x = (W·m)·(x / m)`` with
``m = a^α`` (``a`` the root mean square of each channel) gives those weights more of the codes; ``α`` is searched on
even samples' moments and kept where odd ones' gain. ``1/m`` goes into the op before where that is exact (a norm's gain,
a product's outputs), else into a Mul.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from engines.engine import Feed
from graphs.reading.number_types import Floats
from graphs.reading.weighted import WeightedOp
from graphs.writing.edits import GraphEdits, values_by_name
from optimizer.quantization.codes.blocks import codes_of, search_scales, values_of
from optimizer.quantization.codes.scheme import WeightScheme
from optimizer.quantization.codes.weights import as_float32
from optimizer.quantization.corrections.absorption import Absorber, find_absorber
from optimizer.quantization.judging.noise import decibels
from optimizer.quantization.placement.insertion_points import Placement
from optimizer.quantization.rules.weighted import weighted_op
from optimizer.quantization.weight_only.moments import InputMoments, input_moments, squared_error
from optimizer.reconstruction.layout import as_rows

POWERS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
"""The strengths tried (AWQ searches 0 to 1; beyond 0.7 none was chosen on the models of ``studies.formats``)."""
MOST_OUTPUTS = 384
"""Outputs of each reader, evenly spaced, that strengths are judged on. Chosen."""
WORTH_FREE, WORTH_NODE = 0.97, 0.9
"""Squared error on unseen samples, relative to no scaling, at which it is kept; one that costs a Mul must do better."""
_MOST = 32.0
"""Largest factor: FP16 keeps its normal numbers within it. Chosen."""


@dataclass(frozen=True)
class _Site:
    value: ir.Value
    ops: tuple[WeightedOp, ...]
    absorber: Absorber


class ScaleInputs:
    """Scales the inputs of weights stored as codes; an ``ExactRewrite``."""

    def __init__(self, placement: Placement, feeds: Sequence[Feed]) -> None:
        self._placement, self._feeds = placement, feeds
        self._scheme = placement.scheme.weights
        self._chosen: dict[str, Floats] = {}

    def apply(self, model: ir.Model) -> dict[str, str]:
        """Scale what gains, in place; returns tensor -> note."""
        sites = {str(site.value.name): site for site in _sites(model, self._placement)}
        notes: dict[str, str] = {}
        found: dict[str, InputMoments]
        for found in input_moments(model, {name: site.ops for name, site in sites.items()}, self._feeds):
            for name, moments in found.items():
                if moments.usable and (note := self._decide(sites[name], moments)):
                    notes[name] = note
        self.redo(model, notes)
        return notes

    def redo(self, model: ir.Model, places: Collection[str]) -> None:
        edits = GraphEdits(model.graph)
        for site in tuple(_sites(model, self._placement)):
            if (name := str(site.value.name)) in places:
                scale = self._chosen[name]
                site.absorber.apply(edits, site.value, site.ops, np.zeros_like(scale), scale)

    def _decide(self, site: _Site, moments: InputMoments) -> str:
        readers = [_some_outputs(as_rows(op, as_float32(op.tensor))) for op in site.ops]
        ones = np.ones(len(moments.size), np.float32)
        factors = {power: _factor(moments, power) for power in POWERS}
        fitted = {power: _error(readers, by, moments, moments.fit, self._scheme) for power, by in factors.items()}
        power = min(fitted, key=lambda item: fitted[item])
        start = _error(readers, ones, moments, moments.check, self._scheme)
        factor = factors[power]
        error = _error(readers, factor, moments, moments.check, self._scheme)
        if error > (WORTH_FREE if site.absorber.free else WORTH_NODE) * start:
            return ""
        self._chosen[str(site.value.name)] = (1 / factor).astype(np.float32)
        gain = decibels(start) - decibels(error)
        return f"{site.value.name}: inputs scaled by their size^-{power:g}, {gain:.1f} dB less error at their readers"


def _some_outputs(rows: Floats) -> Floats:
    return rows[:: max(len(rows) // MOST_OUTPUTS, 1)]


def _factor(moments: InputMoments, power: float) -> Floats:
    """What weights are multiplied by, [inputs]; around one, and dead channels left alone."""
    size = np.sqrt(np.maximum(moments.size, 0))
    live = size > 0
    log = np.where(live, power * np.log(np.where(live, size, 1)), 0)
    log[live] -= log[live].mean()
    return np.clip(np.exp(log), 1 / _MOST, _MOST).astype(np.float32)


def _error(
    readers: Sequence[Floats], factor: Floats, moments: InputMoments, judged: Floats, scheme: WeightScheme
) -> float:
    """Squared error at the readers' outputs where weights are rounded after they are multiplied by ``factor``."""
    total, importance = 0.0, (moments.size / np.square(factor)).astype(np.float32)
    for rows in readers:
        scaled = rows * factor
        scales = search_scales(scaled, scheme, importance)
        total += squared_error(values_of(codes_of(scaled, scales, scheme), scales, scheme) / factor - rows, judged)
    return total


def codes_by_node(placement: Placement) -> dict[str, WeightScheme]:
    """The form of each node's weight."""
    return {use.node: point.codes for point in placement.weights for use in point.uses}


def readers_of(model: ir.Model, placement: Placement) -> Mapping[str, list[WeightedOp]]:
    """Matrix products with weights of their own in ``placement``, by the tensor they read."""
    nodes = {str(node.name): node for node in model.graph}
    found: dict[str, list[WeightedOp]] = {}
    for point in placement.weights:
        op = weighted_op(nodes[point.uses[0].node])
        data = nodes[point.uses[0].node].inputs[0]
        if len(point.uses) == 1 and isinstance(op, WeightedOp) and data is not None and len(op.tensor.shape) == 2:
            found.setdefault(str(data.name), []).append(op)
    return found


def _sites(model: ir.Model, placement: Placement) -> Iterator[_Site]:
    values, codes = values_by_name(model.graph), codes_by_node(placement)
    for name, ops in readers_of(model, placement).items():
        if any(codes[str(op.node.name)] != placement.scheme.weights for op in ops):
            continue
        absorber = find_absorber(values[name], ops)
        if absorber is not None and absorber.scales:
            yield _Site(values[name], tuple(ops), absorber)
