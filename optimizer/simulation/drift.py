"""How far every result along a typed graph is from FP32, in graph order, and where the error of the outputs begins.

Both graphs run on the same few samples, with their Q/DQ in float and every half-precision tensor rounded
(``float_twin``), and the results of the same name are compared: signal over noise in dB, summed over the samples. Where
all results fit in ``HELD_BYTES`` they are read in one run of each graph; else as many as do, evenly spread, and the
place where the error begins is found by bisection.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from benchmarks.accuracy.compare import SQNR_CAP_DB, sqnr_db
from engines.engine import Array, Feed
from engines.onnxruntime.graph import running
from graphs.cutting.bisection import Bisection, FirstBad, spread
from graphs.cutting.taps import cut_at
from graphs.reading.shapes import nominal_bytes
from optimizer.simulation.float_twin import HALF_TYPES, float_twin

HELD_BYTES = 256 << 20
"""Results of one graph that may be held at once, for all samples that run joined. Chosen: MobileNetV2's take 54 MB for
one sample."""
ALIKE_DB = 60.0
"""SQNR from which a result counts as FP32's own: what float16 rounds leaves 72 dB. Chosen."""
_FLOATS = (ir.DataType.FLOAT, *HALF_TYPES)


@dataclass(frozen=True)
class Drift:
    """``nodes`` maps names to the SQNR of their result, in dB, in graph order; ``tensors`` are how many there are in
    all. ``output`` is the worst output, with ``sqnr_db``; its error begins at ``first_bad`` (None: it has none to speak
    of).
    """

    nodes: dict[str, float]
    tensors: int
    output: str
    sqnr_db: float
    first_bad: FirstBad | None


def measure_drift(reference: ir.Model, typed: ir.Model, feeds: Sequence[Feed], joined: int = 1) -> Drift:
    """``reference`` is the float graph that ``typed`` was made of; each of ``feeds`` holds ``joined`` samples.

    Raises ``EngineError`` where one of them does not run.
    """
    compared = Compared(reference, typed, feeds)
    results = [value for value in _results(reference) if compared.has(str(value.name))]
    held = _that_fit(results, HELD_BYTES // max(joined, 1))
    known = compared.of([str(value.name) for value in held])
    outputs = {str(value.name) for value in reference.graph.outputs}
    known |= compared.of(sorted(outputs - known.keys()))
    nodes = {_node(value): known[str(value.name)] for value in results if str(value.name) in known}
    floats = [name for name in known if name in outputs]
    if not floats:
        return Drift(nodes, len(results), "", SQNR_CAP_DB, None)
    worst = min(floats, key=lambda name: known[name])
    return Drift(nodes, len(results), worst, known[worst], _first_bad(reference, compared, known, worst))


class Compared:
    """The same tensors of two graphs on the same samples; the weights of both are shared with what was given."""

    def __init__(self, reference: ir.Model, typed: ir.Model, feeds: Sequence[Feed]) -> None:
        self._reference, self._twin, self._feeds = reference, typed.clone(), feeds
        float_twin(self._twin)
        self._names = _float_names(self._reference) & _float_names(self._twin)

    def has(self, name: str) -> bool:
        """Whether both graphs make a float tensor of this name."""
        return name in self._names

    def of(self, names: Sequence[str]) -> dict[str, float]:
        """SQNR in dB of each tensor that both graphs have in the same shape; results of one sample are held at a
        time.
        """
        wanted = [name for name in names if self.has(name)]
        if not wanted:
            return {}
        sums = {name: np.zeros(2) for name in wanted}
        lost: set[str] = set()
        with (
            running(cut_at(self._reference, wanted), fuse_qdq=False) as expected,
            running(cut_at(self._twin, wanted), fuse_qdq=False) as found,
        ):
            for feed in self._feeds:
                right, got = expected.infer(feed), found.infer(feed)
                for name in wanted:
                    power = _powers(right[name], got[name])
                    if power is None:
                        lost.add(name)
                    else:
                        sums[name] += power
        return {name: _decibels(*sums[name]) for name in wanted if name not in lost}


def _first_bad(model: ir.Model, compared: Compared, known: Mapping[str, float], worst: str) -> FirstBad | None:
    if known[worst] >= ALIKE_DB:
        return None

    def ask(names: Sequence[str]) -> Mapping[str, float]:
        """What is known already, else measured: so few that they are held whatever their size."""
        missing = [name for name in names if name not in known]
        return {name: known[name] for name in names if name in known} | compared.of(missing)

    return Bisection(model, ask).first_bad(worst, known[worst], ALIKE_DB)


def _results(model: ir.Model) -> list[ir.Value]:
    """The first float result of every node of the main graph."""
    firsts = (next((v for v in node.outputs if v.name and v.dtype in _FLOATS), None) for node in model.graph)
    return [value for value in firsts if value is not None]


def _float_names(model: ir.Model) -> set[str]:
    return {str(v.name) for node in model.graph for v in node.outputs if v.name and v.dtype in _FLOATS}


def _node(value: ir.Value) -> str:
    made = value.producer()
    assert made is not None
    return str(made.name)


def _that_fit(values: Sequence[ir.Value], limit: int) -> Sequence[ir.Value]:
    """All, or as many as fit in ``limit`` bytes if they are of middling size."""
    total = sum(nominal_bytes(value) for value in values)
    return values if total <= limit else spread(values, max(int(len(values) * limit / total), 1))


def _decibels(signal: float, noise: float) -> float:
    return sqnr_db(signal, noise) if np.isfinite(noise) else -SQNR_CAP_DB


def _powers(expected: Array, found: Array) -> tuple[float, float] | None:
    """Signal and noise; None for shapes that differ. A value that is finite in FP32 alone is infinite noise."""
    if expected.shape != found.shape:
        return None
    right, got = _plain(expected), _plain(found)
    with np.errstate(invalid="ignore", over="ignore"):
        error = right - got
        power = float(np.dot(right, right)), float(np.dot(error, error))
    if np.isfinite(power).all():
        return power
    finite = np.isfinite(right)
    if not np.isfinite(got[finite]).all():
        return 1.0, np.inf
    wide, off = right[finite].astype(np.float64), error[finite].astype(np.float64)
    return float(np.dot(wide, wide)), float(np.dot(off, off))


def _plain(array: Array) -> Array:
    """In float32, whose sums are right to a thousandth of a decibel, and quick."""
    return array.astype(np.float32, copy=False).reshape(-1)
