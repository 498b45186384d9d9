"""Do two graphs compute the same? Both are run in ONNX Runtime on a few feeds, and their outputs compared.

What a rewrite calls exact is verified with this: a float output may differ by the rounding of its own type, an integer,
boolean or string output not at all; NaN and infinities must stand in the same places, and shapes that depend on data
must agree. The reference is run once (``Answers``) and may be compared with any number of graphs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.accuracy.compare import OutputAccuracy, OutputNoise
from engines.engine import Array, Feed
from engines.errors import EngineError
from engines.onnxruntime.graph import Graph, running
from graphs.errors import in_a_line

LEAST_SQNR_DB = {"float64": 80.0, "float32": 80.0, "float16": 45.0, "bfloat16": 25.0}
"""Least SQNR of an output of each type, dB. Sums taken in another order cost a float32 net 20 to 40 dB of its 140; one
rounding to float16 (11 bits) leaves 72 dB, to bfloat16 (8 bits) 54 dB, and some dozen of them in a row these."""
NEAR_DB = {"float64": 50.0, "float32": 50.0, "float16": 30.0, "bfloat16": 15.0}
"""SQNR, dB, that a rewrite of another meaning does not reach, while rounding that an unstable net amplifies does."""
NEAR_SHARE = 0.99
"""Likewise for the share of equal values of integers and the like: an argmax between equals may fall either way.
Chosen."""
NEGLIGIBLE = {"float64": 1e-6, "float32": 1e-6, "float16": 1e-3, "bfloat16": 1e-2}
"""Largest absolute error that is rounding whatever the SQNR: an output that is zero, or cancels, has no signal."""


@dataclass(frozen=True)
class Equivalence:
    """Whether two graphs gave the same outputs.

    ``near`` is weaker than ``same``: what differs is little enough to be rounding that grew. ``worst`` names the output
    that differs most, with its ``sqnr_db`` and ``max_abs`` error; ``why`` is empty, or says in a sentence what differs.
    ``skipped`` names outputs that say nothing: the reference differs from itself there from run to run.
    ``overflows`` names an output that is NaN or infinite where the reference is finite.
    """

    same: bool
    worst: str = ""
    sqnr_db: float = math.inf
    max_abs: float = 0.0
    why: str = ""
    near: bool = True
    skipped: tuple[str, ...] = ()
    overflows: str = ""


@dataclass(frozen=True)
class Answers:
    """What a graph answered to ``feeds``; ``random`` names outputs that differed when the first feed was run again."""

    feeds: tuple[Feed, ...]
    outputs: tuple[dict[str, Array], ...]
    random: tuple[str, ...] = ()

    @classmethod
    def of(cls, graph: Graph, feeds: Sequence[Feed], *, fuse_qdq: bool = True) -> Answers:
        """Run ``graph`` on every feed, and once more on the first. Raises ``EngineError`` where it does not run."""
        outputs = _run(graph, [*feeds, *feeds[:1]], fuse_qdq)
        again = outputs.pop()
        random = tuple(name for name in again if not _identical(outputs[0][name], again[name]))
        return cls(tuple(feeds), tuple(outputs), random)

    @property
    def without_numbers(self) -> list[str]:
        """Outputs of which every value is NaN: with them nothing can be compared."""
        names = self.outputs[0] if self.outputs else ()
        return [name for name in names if _all_nan([_comparable(answer[name]) for answer in self.outputs])]

    def compare(self, graph: Graph, *, fuse_qdq: bool = True) -> Equivalence:
        """Compare ``graph`` with these answers; one that cannot be run is not the same."""
        try:
            found = _run(graph, self.feeds, fuse_qdq)
        except EngineError as error:
            return _different("", f"it does not run: {in_a_line(error)}")
        return self.judge(found)

    def judge(self, found: Sequence[dict[str, Array]]) -> Equivalence:
        """Compare outputs that somebody else computed for the same feeds."""
        names = [name for name in self.outputs[0] if name not in self.random] if self.outputs else []
        missing = [name for name in names if any(name not in answer for answer in found)]
        if missing:
            return _different(missing[0], f"output {missing[0]!r} is missing")
        worst = Equivalence(True)
        for name in names:
            pairs = [(expected[name], answer[name]) for expected, answer in zip(self.outputs, found, strict=True)]
            judged = _judge(name, pairs)
            if (judged.near, judged.same, judged.sqnr_db) < (worst.near, worst.same, worst.sqnr_db):
                worst = judged
        return replace(worst, skipped=self.random)


def compare_graphs(reference: Graph, candidate: Graph, feeds: Sequence[Feed], *, fuse_qdq: bool = True) -> Equivalence:
    """Whether ``candidate`` computes what ``reference`` does. Raises ``EngineError`` where ``reference`` does not run.

    ``fuse_qdq=False`` runs both with their Q/DQ nodes executed in float.
    """
    return Answers.of(reference, feeds, fuse_qdq=fuse_qdq).compare(candidate, fuse_qdq=fuse_qdq)


def _run(graph: Graph, feeds: Sequence[Feed], fuse_qdq: bool) -> list[dict[str, Array]]:
    """Every feed's outputs."""
    with running(graph, fuse_qdq=fuse_qdq) as engine:
        names = [spec.name for spec in engine.inputs]
        return [engine.infer({name: feed[name] for name in names if name in feed}) for feed in feeds]


def _judge(name: str, pairs: Sequence[tuple[Array, Array]]) -> Equivalence:
    """One output over all feeds."""
    dtypes = {(expected.dtype.name, found.dtype.name) for expected, found in pairs}
    other = next(((e, f) for e, f in sorted(dtypes) if e != f), None)
    if other is not None:
        return _different(name, f"output {name!r} is {other[1]} where it was {other[0]}")
    noise = OutputNoise()
    for number, (expected, found) in enumerate(pairs):
        noise.add(_comparable(expected), _comparable(found), number)
    measured = noise.result()
    kind = pairs[0][0].dtype.name
    why = _difference(name, kind, measured)
    overflows = name if measured.failure and any(_overflows(*pair) for pair in pairs) else ""
    near = not why or _near(kind, measured)
    return Equivalence(not why, name, measured.sqnr_db, measured.max_abs, why, near, overflows=overflows)


def _overflows(expected: Array, found: Array) -> bool:
    if expected.shape != found.shape or expected.dtype.kind != "f":
        return False
    return bool(np.any(np.isfinite(expected) & ~np.isfinite(found)))


def _near(kind: str, measured: OutputAccuracy) -> bool:
    if measured.failure:
        return False
    return measured.sqnr_db >= NEAR_DB[kind] if kind in NEAR_DB else measured.agreement >= NEAR_SHARE


def _different(name: str, why: str) -> Equivalence:
    return Equivalence(False, name, -math.inf, math.inf, why, near=False)


def _difference(name: str, kind: str, measured: OutputAccuracy) -> str:
    if measured.failure:
        return f"output {name!r}: {measured.failure.replace('FP32', 'the original')}"
    least = LEAST_SQNR_DB.get(kind)
    if least is None:
        share = 1 - measured.agreement
        return f"output {name!r} ({kind}) differs in {share:.1%} of its values" if share > 0 else ""
    if measured.sqnr_db >= least or measured.max_abs <= NEGLIGIBLE[kind]:
        return ""
    return f"output {name!r} differs: SQNR {measured.sqnr_db:.1f} dB, largest error {measured.max_abs:.3g}"


def _comparable(array: Array) -> Array:
    """numpy's own float types as they are; bfloat16 and the 8-bit floats, which are none, in float32."""
    return array.astype(np.float32) if array.dtype.kind == "V" else array


def _all_nan(values: Sequence[Array]) -> bool:
    return any(value.size for value in values) and all(
        value.dtype.kind == "f" and bool(np.isnan(value).all()) for value in values
    )


def _identical(first: Array, second: Array) -> bool:
    first, second = _comparable(first), _comparable(second)
    return first.shape == second.shape and np.array_equal(first, second, equal_nan=first.dtype.kind == "f")
