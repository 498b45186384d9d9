"""Is axis 0 a batch of independent samples? Found out, not assumed: rows are run apart and joined, and compared.

A dynamic first axis may count samples, but also the points of a cloud, the steps of a time-major recurrent net, or
nothing at all: an exporter that traced one sample writes a symbol that a Reshape inside holds at 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from calibration.source import place_of
from engines.engine import UNNAMED, Array, Engine, Feed, TensorSpec
from engines.errors import EngineError
from engines.feeds.batching import Batching, join, row
from graphs.errors import BadInput

PEEKED_ROWS = 16
"""Rows of the first file to choose two from. Chosen."""
ROUNDING = 1e-4
"""Noise power over signal power below which outputs are the same: kernels for another batch sum in another order, which
costs float32 1e-12, and one step of an 8-bit activation in a thousand that rounds the other way 1e-5."""
LARGEST_FROZEN = 64
"""Largest number of rows tried where a graph runs neither with one row nor with all. Chosen."""
NUMBERED_DECIMALS = 3
"""Digits that coordinates of detections must agree in: rounding moves boxes of a few hundred pixels by 1e-4. Chosen."""

Outputs = dict[str, Array]


def probe_batching(
    engine: Engine, feeds: Sequence[Feed], whole: Callable[[], Feed], *, rounding: float = ROUNDING
) -> Batching:
    """What axis 0 of the inputs and outputs of ``engine`` counts.

    ``feeds`` are one or two feeds as stored, cut to a few rows; ``whole`` gives the first one uncut. Raises
    ``BadInput`` naming the sample where the model runs on it in no way.
    """
    probe = _Probe(engine, feeds, rounding)
    tried = [(batched, probe.try_rows(batched)) for batched in _candidates(engine.inputs, feeds[0])]
    independent = [(batched, found) for batched, found in tried if found.independent]
    if independent:
        batched, best = max(independent, key=lambda pair: len(pair[1].outputs))  # the first of those with equally many
        return Batching(batched, best.outputs, why=f"axis 0 of {_listed(batched)} counts independent samples")
    error = probe.error_of(whole())
    for batched, found in tried:
        if found.alone and not found.joined and (error or all(len(feeds[0][name]) == 1 for name in batched)):
            return _frozen(batched, 1)
    if not error:
        return Batching(why=_why_whole(engine.inputs, tried))
    for batched, _ in tried:
        if rows := probe.frozen_rows(batched):
            return _frozen(batched, rows)
    raise BadInput(
        f"the model does not run on it: {error}",
        where=place_of(feeds[0], 0),
        expected="inputs that the model as given can run in ONNX Runtime",
        fix="correct it, give other inputs with --data (lengths of made-up ones: --shape NAME=SHAPE), or export the "
        "model again if it cannot run at all",
    )


def _frozen(batched: tuple[str, ...], rows: int) -> Batching:
    text = f"axis 0 of {_listed(batched)} is dynamic by name, but the graph runs with {rows} row{'s'[: rows - 1]} only"
    return Batching(frozen=dict.fromkeys(batched, rows), why=f"{text}: each batch of {rows} is a sample")


def _why_whole(specs: Sequence[TensorSpec], tried: Sequence[tuple[tuple[str, ...], _Found]]) -> str:
    if not tried:
        first = next(spec for spec in specs if spec.shape and isinstance(spec.shape[0], str))
        return f"axis 0 of {first.name!r} is another axis of an input, too: arrays are taken as samples as they stand"
    names = _listed(tried[0][0])
    return f"axis 0 of {names} counts no independent samples: rows joined give other outputs than rows apart"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names))


def _candidates(specs: Sequence[TensorSpec], feed: Feed) -> list[tuple[str, ...]]:
    """Sets of inputs whose axis 0 may be one batch: all dynamic ones, those of one symbol or length, each alone.

    Not those whose symbol is also another axis of an input (the states of a recurrent net): rows alone fit no feed.
    """
    tied = {dim for spec in specs for dim in spec.shape[1:]} - UNNAMED
    dynamic = [s for s in specs if s.shape and isinstance(s.shape[0], str) and s.shape[0] not in tied]
    groups: dict[object, list[str]] = {"all": [s.name for s in dynamic]}
    for spec in dynamic:
        groups.setdefault(("symbol", spec.shape[0]), []).append(spec.name)
        groups.setdefault(("length", len(feed[spec.name])), []).append(spec.name)
        groups[("alone", spec.name)] = [spec.name]
    sets = sorted(dict.fromkeys(map(tuple, groups.values())), key=lambda names: -len(names))
    whole = [names for names in sets if names and all((s.name in names) == _of(s, names, dynamic) for s in dynamic)]
    return [names for names in whole if len({len(feed[name]) for name in names}) == 1]


def _of(spec: TensorSpec, names: Sequence[str], specs: Sequence[TensorSpec]) -> bool:
    """Whether ``spec`` belongs to the set ``names``: it is in it, or has a symbol that one in it has."""
    symbols = {other.shape[0] for other in specs if other.name in names} - UNNAMED
    return spec.name in names or spec.shape[0] in symbols


@dataclass(frozen=True)
class _Found:
    """Whether single rows ran ``alone`` and ``joined``; ``independent`` where both gave the same, then ``outputs`` are
    those that have a row per sample.
    """

    alone: bool = False
    joined: bool = False
    independent: bool = False
    outputs: tuple[str, ...] = ()


class _Probe:
    def __init__(self, engine: Engine, feeds: Sequence[Feed], rounding: float) -> None:
        self._engine, self._feeds, self._rounding = engine, feeds, rounding

    def error_of(self, feed: Feed) -> str:
        """What the runtime says about ``feed``; empty where it runs."""
        try:
            self._engine.infer(feed)
        except EngineError as error:
            return error.what
        return ""

    def try_rows(self, batched: tuple[str, ...]) -> _Found:
        first, second = self._two_rows(batched)
        try:
            apart = self._engine.infer(first), self._engine.infer(second)
        except EngineError:
            return _Found()
        try:
            joined = self._engine.infer(join([first, second], batched))
        except EngineError:
            return _Found(alone=True)
        relations = {name: self._relation(apart[0][name], apart[1][name], joined[name]) for name in joined}
        by_row = tuple(name for name, relation in relations.items() if relation == "rows")
        independent = "other" not in relations.values() and set(relations.values()) != {"same"}
        if not independent and self._random(first, apart[0]):
            by_row = tuple(n for n, a in joined.items() if a.ndim and len(a) == 2 and len(apart[0][n]) == 1)
            independent = bool(by_row)
        return _Found(True, True, independent, by_row)

    def frozen_rows(self, batched: tuple[str, ...]) -> int:
        """A number of rows that the graph runs with; 0 where none was found."""
        for rows in range(2, LARGEST_FROZEN + 1):
            wrapped = {n: a[np.arange(rows) % len(a)] if n in batched else a for n, a in self._feeds[0].items()}
            if not self.error_of(wrapped):
                return rows
        return 0

    def _two_rows(self, batched: tuple[str, ...]) -> tuple[Feed, Feed]:
        """Two rows that differ: of the first feed, else of both, else the only one and itself rolled."""
        feed = self._feeds[0]
        count = len(feed[batched[0]])
        if count > 1:
            picked = sorted(range(count), key=lambda number: -_variety(row(feed, batched, number), batched))[:2]
            first, second = (row(feed, batched, number) for number in picked)
        else:
            first = row(feed, batched, 0)
            second = row(self._feeds[-1], batched, 0)
            if any(first[name].shape != second[name].shape for name in batched):
                second = first
            second = {name: array if name in batched else feed[name] for name, array in second.items()}
        if all(np.array_equal(first[name], second[name]) for name in batched):
            second = {n: np.roll(a, 1, -1) if n in batched and a.ndim > 1 else a for n, a in first.items()}
        return first, second

    def _relation(self, first: Array, second: Array, joined: Array) -> str:
        """``rows``: a row per sample; ``parts``: it follows from the two apart in another way; ``same``: it does not
        vary with the batch; ``other``: rows know of each other.
        """
        single = first.ndim > 0 and len(first) == 1 and first.shape == second.shape
        if single and self._close(np.concatenate([first, second]), joined):
            return "rows"
        if self._close(first, joined) and self._close(second, joined):
            return "same"
        for axis in range(first.ndim):
            alike = first.shape[:axis] + first.shape[axis + 1 :] == second.shape[:axis] + second.shape[axis + 1 :]
            if alike and self._close(np.concatenate([first, second], axis), joined):
                return "parts"
        return "parts" if _numbered(first, second, joined) else "other"

    def _close(self, expected: Array, found: Array) -> bool:
        if expected.shape != found.shape:
            return False
        if found.dtype.kind in "biuOSU":
            return bool(np.array_equal(expected, found))
        e, f = expected.astype(np.float64), found.astype(np.float64)
        usable = np.isfinite(e)
        if not np.array_equal(usable, np.isfinite(f)):
            return False
        noise = float(np.sum((e[usable] - f[usable]) ** 2))
        return noise <= self._rounding * float(np.sum(e[usable] ** 2))

    def _random(self, feed: Feed, answer: Outputs) -> bool:
        """Whether the model answers otherwise when asked again; then only shapes tell."""
        again = self._engine.infer(feed)
        return any(not self._close(answer[name], again[name]) for name in answer)


def _numbered(first: Array, second: Array, joined: Array) -> bool:
    """Whether rows, as detections [found, columns] are, differ by the sample's number in one column only."""
    if joined.dtype.kind not in "iuf" or joined.ndim != 2 or first.shape[1:] != second.shape[1:]:
        return False
    apart = np.concatenate([first, second])
    if apart.shape != joined.shape:
        return False
    with np.errstate(invalid="ignore"):  # of two infinities: NaN, which is no number of a sample
        moved = np.round(joined.astype(np.float64) - apart, NUMBERED_DECIMALS)
    return not moved[: len(first)].any() and int(moved.any(axis=0).sum()) <= 1 and set(np.unique(moved)) <= {0, 1}


def _variety(feed: Feed, batched: Sequence[str]) -> float:
    """How much the values of a row vary: a row of padding would tell nothing."""
    return sum(_spread(feed[name]) for name in batched)


def _spread(array: Array) -> float:
    """Standard deviation of the finite values: a mask of -inf varies by its zeros alone."""
    finite = np.asarray(array, np.float64)[np.isfinite(array)]
    return float(finite.std()) if finite.size else 0.0
