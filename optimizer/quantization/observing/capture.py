"""Look inside a graph while it runs: values of named activations over a few feeds, a bounded number at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from calibration.table import CalibrationTable, TensorRange
from engines.engine import Array, Feed
from engines.onnxruntime.graph import running_many
from graphs.cutting.taps import exposed
from graphs.reading.number_types import Floats
from graphs.reading.shapes import nominal_bytes
from graphs.writing.edits import values_by_name
from optimizer.quantization.observing.chunks import in_chunks

CHUNK_BYTES = 192 << 20
"""Activations fetched in one run stay below this (a single larger one is fetched alone). Chosen."""


def observe(
    model: ir.Model, names: Sequence[str], feeds: Sequence[Feed], visit: Callable[[str, Array, int], None]
) -> None:
    """Call ``visit(name, value, feed index)`` for each activation in ``names`` and each feed.

    Q/DQ nodes run as they stand (simulation). Names are fetched in chunks of ``CHUNK_BYTES``, one run of all feeds per
    chunk. Graph inputs are taken from the feed.
    """
    values = values_by_name(model.graph)
    fed = [name for name in names if values[name].is_graph_input()]
    for index, feed in enumerate(feeds):
        for name in fed:
            visit(name, feed[name], index)
    made = (values[name] for name in names if not values[name].is_graph_input())
    for chunk in in_chunks(dict.fromkeys(made), nominal_bytes, CHUNK_BYTES):
        with exposed(model, chunk), running_many(model, len(feeds)) as run:
            for index, fetched in enumerate(run(feeds)):
                for value in chunk:
                    visit(str(value.name), fetched[str(value.name)], index)


@dataclass(frozen=True)
class Channels:
    """An activation by channel: some of its vectors [rows, channels], and the ends of every channel [channels]."""

    rows: Floats
    low: Floats
    high: Floats

    def reaching(self, low: Floats, high: Floats) -> Channels:
        """The same rows, known to reach from ``low`` to ``high``."""
        return Channels(self.rows, np.minimum(self.low, low), np.maximum(self.high, high))


def capture_channels(
    model: ir.Model, channel_axes: Mapping[str, int], feeds: Sequence[Feed], *, rows: int, seed: int
) -> dict[str, tuple[Channels, Channels]]:
    """Activations by channel, of even and of odd feeds: what is made from one half can be judged on the other.

    Up to ``rows`` vectors in all are kept of each, drawn at random over positions; ends are of all positions. One that
    is not finite somewhere is left out: nothing can be made from it.
    """
    rngs = {name: np.random.default_rng(seed) for name in channel_axes}  # what is drawn of one hangs on no other
    halves = {name: (_Half(), _Half()) for name in channel_axes}
    each = max(rows // max(len(feeds), 1), 1)
    broken: set[str] = set()

    def visit(name: str, value: Array, index: int) -> None:
        flat = np.moveaxis(value, channel_axes[name], -1).reshape(-1, value.shape[channel_axes[name]])
        if not np.isfinite(flat).all():
            broken.add(name)
        elif len(flat):
            halves[name][index % 2].add(flat, each, rngs[name])

    observe(model, list(channel_axes), feeds, visit)
    return {
        name: (even.channels(), odd.channels())
        for name, (even, odd) in halves.items()
        if even.rows and odd.rows and name not in broken
    }


@dataclass
class _Half:
    rows: list[Floats] = field(default_factory=list)
    lows: list[Floats] = field(default_factory=list)
    highs: list[Floats] = field(default_factory=list)

    def add(self, flat: Array, count: int, rng: np.random.Generator) -> None:
        self.lows.append(flat.min(axis=0).astype(np.float32))
        self.highs.append(flat.max(axis=0).astype(np.float32))
        picked = flat[rng.choice(len(flat), count, replace=False)] if len(flat) > count else flat
        self.rows.append(np.ascontiguousarray(picked, dtype=np.float32))

    def channels(self) -> Channels:
        return Channels(np.concatenate(self.rows), np.min(self.lows, axis=0), np.max(self.highs, axis=0))


@dataclass
class Reach:
    """Where every feed's values of an activation end, [feeds, 2], and how many values there are in all feeds."""

    ends: NDArray[np.float64]
    values: int = 0


def reach_of(model: ir.Model, names: Sequence[str], feeds: Sequence[Feed]) -> dict[str, Reach]:
    """Least and largest value of activations in every feed; zero where there are no values."""
    found = {name: Reach(np.zeros((len(feeds), 2))) for name in names}

    def visit(name: str, value: Array, index: int) -> None:
        if value.size:
            found[name].ends[index] = float(value.min()), float(value.max())
            found[name].values += value.size

    observe(model, names, feeds, visit)
    return found


def rough_table(model: ir.Model, names: Sequence[str], feeds: Sequence[Feed]) -> CalibrationTable:
    """Extremes of activations over a few feeds: enough for guards to compare ranges, not for scales."""
    ranges = {
        name: TensorRange(low, high, low, high, max(-low, high), "extremes")
        for name, reached in reach_of(model, names, feeds).items()
        for low, high in [(float(reached.ends[:, 0].min()), float(reached.ends[:, 1].max()))]
    }
    return CalibrationTable(ranges, "extremes", len(feeds), True, "", "")
