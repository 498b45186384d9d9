"""How much of the output error each quantized op causes, measured: one op in int8, everything else in float.

The ops sit in one graph behind switches, or in a few graphs that each begin with the first of their ops: one is loaded
once and each measurement is a plain run of it. Errors of different ops are nearly independent, so their noise powers at
the output add up; that is what makes a budgeted choice (``fallback``) a sum and not a search.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice

import numpy as np
import onnx_ir as ir

from calibration.table import CalibrationTable
from engines.engine import Array, Feed
from engines.onnxruntime.graph import Run, running_many
from graphs.cutting.segments import tail
from graphs.cutting.taps import exposed
from graphs.reading.shapes import nominal_bytes
from graphs.writing.edits import values_by_name
from optimizer.quantization.codes.weights import QuantizedWeight, ScaleSearch, WeightScales
from optimizer.quantization.corrections.switches import with_switches
from optimizer.quantization.judging.noise import Powers, decibels, noise_of, powers
from optimizer.quantization.placement.insertion_points import Placement

MEASURED_MACS = 1e11
"""Multiply-accumulates one sensitivity sweep may spend; decides how many samples each op is measured on."""
PARTS, FEWEST_OF_A_PART = 4, 8
"""Parts that the ops of a sweep are measured in, each in a graph that begins with its first op; of four the last runs a
quarter of the graph and a session costs no more than it saves. Fewer ops to a part than ``FEWEST_OF_A_PART`` do not pay
for theirs. Measured on MobileNetV2: 4.4 s of one core became 1.5 s."""
CROSSING_BYTES = 256 << 20
"""Activations kept, of all samples, where the graph is cut; beyond, it is not. Chosen."""
NO_MATTER = 0.05
"""Ops that together cause no more than this part of the error on the first sample are measured on it alone."""


@dataclass(frozen=True)
class Sensitivity:
    """Noise power at the outputs, relative to the signal's, with only this node quantized."""

    node: str
    noise: float

    @property
    def sqnr_db(self) -> float:
        return -decibels(self.noise)


def sample_count(ops: int, macs_per_sample: int, available: int) -> int:
    """How many samples a sweep over ``ops`` can afford."""
    return int(np.clip(MEASURED_MACS / max(ops * macs_per_sample, 1), 1, min(available, 4)))


def measure(
    model: ir.Model,
    placement: Placement,
    table: CalibrationTable,
    feeds: Sequence[Feed],
    *,
    settled: Mapping[str, QuantizedWeight] | None = None,
    scales: ScaleSearch | None = None,
    among: Collection[str] | None = None,
) -> list[Sensitivity]:
    """Sensitivity of every node that reads a quantized activation in ``placement``, in graph order; with ``among`` of
    those named there alone.
    """
    scales, settled = scales or WeightScales(), settled or {}
    reading = {use.node for point in placement.activations for use in point.uses}
    nodes = [node for node in model.graph if node.name in reading and (among is None or node.name in among)]
    found: list[Sensitivity] = []
    for part in _parts(model, nodes, feeds):
        switched, switches, names = with_switches(part.model, placement, table, settled, scales, part.names)
        found += sweep(switched, switches, names, part.feeds, known=found, beside=part.unchanged)
    return found


@dataclass(frozen=True)
class _Part:
    """Nodes that are measured in a graph that begins with the first of them: nothing before it is run again.

    ``feeds`` are what crosses over, for every sample, ``unchanged`` the outputs that none of the nodes has a part in.
    """

    model: ir.Model
    names: frozenset[str]
    feeds: Sequence[Feed]
    unchanged: Sequence[Mapping[str, Array]]


def _parts(model: ir.Model, nodes: Sequence[ir.Node], feeds: Sequence[Feed]) -> list[_Part]:
    """``nodes`` in up to ``PARTS`` parts of equal count; one, of the whole graph, where it cannot be cut."""
    names = [str(node.name) for node in nodes]
    size = max(-(-len(nodes) // PARTS), FEWEST_OF_A_PART)
    whole = _Part(model, frozenset(names[:size]), feeds, [{} for _ in feeds])
    tails = {start: tail(model, nodes[start]) for start in range(size, len(nodes), size)}
    if not all(tails.values()):
        return [replace(whole, names=frozenset(names))]
    values, parts = values_by_name(model.graph), [whole]
    crossing = {start: [str(value.name) for value in cut.graph.inputs] for start, cut in tails.items() if cut}
    wanted = [values[name] for name in dict.fromkeys(name for found in crossing.values() for name in found)]
    made = [value for value in wanted if not value.is_graph_input()]
    if sum(map(nominal_bytes, made)) * len(feeds) > CROSSING_BYTES:
        return [replace(whole, names=frozenset(names))]
    if tails:
        with exposed(model, list(dict.fromkeys([*made, *model.graph.outputs]))), running_many(model, len(feeds)) as run:
            reached = [{**feed, **outputs} for feed, outputs in zip(feeds, run(feeds), strict=True)]
    for start, cut in tails.items():
        assert cut is not None
        own = {str(output.name) for output in cut.graph.outputs}
        others = [str(output.name) for output in model.graph.outputs if output.name not in own]
        here = frozenset(names[start : start + size])
        crossed = [{name: values[name] for name in crossing[start]} for values in reached]
        parts.append(_Part(cut, here, crossed, [{name: values[name] for name in others} for values in reached]))
    return parts


def sweep(
    model: ir.Model,
    switches: str,
    nodes: Sequence[str],
    feeds: Sequence[Feed],
    *,
    known: Sequence[Sensitivity] = (),
    beside: Sequence[Mapping[str, Array]] | None = None,
) -> list[Sensitivity]:
    """What turning on each switch alone does to the outputs; ``switches`` is the input that holds one per node.

    Every switch is tried on the first of ``feeds``. Those that together, beside what is ``known`` already, cause all
    but ``NO_MATTER`` of the noise are tried on the others too. ``beside`` are further outputs, which no switch changes,
    of every feed.
    """
    off, same = np.zeros(len(nodes), np.bool_), beside or [{} for _ in feeds]

    def turned_on(only: int | None, some: Sequence[Feed]) -> Iterator[Feed]:
        on = off.copy()
        if only is not None:
            on[only] = True
        yield from ({**feed, switches: on} for feed in some)

    def compared(run: Run, tried: Sequence[int], reference: Sequence[Mapping[str, Array]], at: slice) -> list[Powers]:
        some = feeds[at]
        outputs = run(chain.from_iterable(turned_on(index, some) for index in tried))
        return [
            powers(
                reference[at], [{**got, **rest} for got, rest in zip(islice(outputs, len(some)), same[at], strict=True)]
            )
            for _ in tried
        ]

    with running_many(model, len(feeds) * len(nodes)) as run:
        plain = list(run(turned_on(None, feeds)))
        reference = [{**got, **rest} for got, rest in zip(plain, same, strict=True)]
        first = compared(run, range(len(nodes)), reference, slice(0, 1))
        alone = [noise_of(found) for found in first]
        telling = _telling(alone, sum(item.noise for item in known)) if len(feeds) > 1 else []
        further = compared(run, telling, reference, slice(1, None))
    noise = dict(enumerate(alone))
    noise |= {index: noise_of(first[index] + found) for index, found in zip(telling, further, strict=True)}
    before = sum(alone[index] for index in telling)
    usual = sum(noise[index] for index in telling) / before if before > 0 else 1.0  # of all samples, beside the first
    seen = frozenset(telling)
    return [Sensitivity(name, noise[index] * (1.0 if index in seen else usual)) for index, name in enumerate(nodes)]


def _telling(noise: Sequence[float], known: float) -> list[int]:
    """Indices of the noises that make up all but ``NO_MATTER`` of their sum and ``known``, the largest, in order."""
    rising = sorted(range(len(noise)), key=lambda index: noise[index])
    least = np.cumsum([noise[index] for index in rising])
    matter = np.searchsorted(least, NO_MATTER * (known + sum(noise)), side="right")
    return sorted(rising[int(matter) :])
