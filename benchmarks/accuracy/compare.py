"""How close candidate engines come to the FP32 reference: one pass over the data, memory independent of its length.

Definitions, per output, over all elements of all samples (r reference, c candidate):

- SQNR = 10 log10(sum r^2 / sum (r - c)^2) dB (signal to quantization noise ratio; capped at +-200 dB);
- cosine = sum r c / sqrt(sum r^2 sum c^2), the outputs of all samples taken as one vector;
- max_abs = max |r - c|;
- all three without floats beyond float16 that are the same in both: fills of masked scores, beside whose squares no
  error would be seen;
- agreement = the share of equal decisions, see ``agreement.py``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks.accuracy.agreement import Agreement, same_values
from benchmarks.accuracy.found_rows import Shape, depends_on_data, find_rows, open_axes, row_axis
from benchmarks.accuracy.largest_sample import LargestSample
from benchmarks.accuracy.paired import PairedSums
from benchmarks.batching import sample_count
from engines.engine import Array, Engine, Feed
from graphs.errors import BadInput

SQNR_CAP_DB = 200.0
"""Decibels that an exact output counts as; chosen, far above any output that is not exact."""
KEPT_BYTES = 16 << 20
"""Outputs that may depend on the data in length are kept up to this size, to be compared anew when they do. Chosen."""

LEAST_FILL = 65504.0
"""The last number of float16, the smallest of what any type may hold in place of infinity. A float from here on that
both give alike is a fill, whose square would drown every other error."""

MUCH_DB, TELLING_DB = 10.0, 40.0
"""An SQNR that falls by so many decibels without one sample, to less than 40 (errors of 1 %), speaks of that sample.
Chosen: of samples alike, the largest of two holds 3 dB."""


@dataclass(frozen=True)
class OutputAccuracy:
    """Figures of one output; ``failure`` is empty, or says why the figures must not be trusted (NaN, wrong shape).
    ``floats`` is False for integers, bools and strings: decisions, of which only ``agreement`` says something;
    ``finite`` is False where FP32's own output holds NaN or infinity. ``others_db`` is the SQNR of all samples but that
    of the largest values, where it is much lower: the figures then speak of that sample alone. None where they do not.
    """

    cosine: float
    sqnr_db: float
    max_abs: float
    agreement: float
    agreement_kind: str
    failure: str = ""
    floats: bool = True
    finite: bool = True
    others_db: float | None = None


@dataclass(frozen=True)
class Accuracy:
    """One candidate against FP32 over ``samples`` samples."""

    samples: int
    outputs: dict[str, OutputAccuracy] = field(default_factory=dict)

    @property
    def failures(self) -> list[str]:
        """One sentence per output that cannot be used."""
        return [f"output {name!r}: {output.failure}" for name, output in self.outputs.items() if output.failure]

    @property
    def told_by_one_sample(self) -> list[str]:
        """One sentence per output whose figures speak of one sample: its values are so much larger."""
        return [
            f"output {name!r}: one sample's values are so large that all figures speak of it: SQNR "
            f"{output.sqnr_db:.1f} dB, of the other samples {output.others_db:.1f} dB; give a metric with --evaluate"
            for name, output in self.outputs.items()
            if output.others_db is not None
        ]

    @property
    def sqnr_db(self) -> float:
        """SQNR of the worst output, dB."""
        return min((output.sqnr_db for output in self.outputs.values()), default=SQNR_CAP_DB)

    @property
    def agreement(self) -> float:
        """Agreement of the worst output."""
        return min((output.agreement for output in self.outputs.values()), default=1.0)


def compare(
    reference: Engine, candidates: Mapping[str, Engine], feeds: Iterable[Feed], paired: PairedSums | None = None
) -> dict[str, Accuracy]:
    """Run every feed through ``reference`` and each candidate; the accuracy of each candidate by its name. ``paired``
    is given every output of both, where there is one candidate.

    Raises ``BadInput`` when there is no feed or a candidate has other output names than the reference.
    """
    names = [spec.name for spec in reference.outputs]
    for label, engine in candidates.items():
        _check_outputs(label, names, [spec.name for spec in engine.outputs])
    free = {spec.name: open_axes(spec, reference.inputs) for spec in reference.outputs}
    noise = {label: {name: OutputNoise(free[name]) for name in names} for label in candidates}
    samples = 0
    for feed in feeds:
        expected = reference.infer(feed)
        given = tuple(feed[spec.name].shape for spec in reference.inputs if spec.name in feed)
        for label, engine in candidates.items():
            actual = engine.infer(feed)
            for name in names:
                noise[label][name].add(expected[name], actual[name], samples, given)
                noise[label][name].largest.add(expected[name], actual[name], sample_count(reference.inputs, feed))
                if paired is not None:
                    paired.add(name, expected[name], actual[name], sample_count(reference.inputs, feed))
        samples += sample_count(reference.inputs, feed)
    if not samples:
        raise BadInput("no samples to compare on", fix="give held-back data (--eval-data) or more samples")
    return {
        label: Accuracy(samples, {name: output.result() for name, output in outputs.items()})
        for label, outputs in noise.items()
    }


def _check_outputs(label: str, expected: list[str], found: list[str]) -> None:
    if missing := sorted(set(expected) - set(found)):
        raise BadInput(
            f"engine {label!r} lacks output {missing[0]!r}",
            expected=f"outputs {', '.join(expected)}; found {', '.join(found)}",
        )


def sqnr_db(signal: float, noise: float) -> float:
    """10 log10(signal / noise), capped at +-``SQNR_CAP_DB``; no noise is the cap, whatever the signal."""
    if noise <= 0.0:
        return SQNR_CAP_DB
    if signal <= 0.0:
        return -SQNR_CAP_DB
    return min(max(10.0 * math.log10(signal / noise), -SQNR_CAP_DB), SQNR_CAP_DB)


def cosine_similarity(dot: float, reference: float, candidate: float) -> float:
    """Cosine from a dot product and two squared norms; one for two zero vectors, zero for one."""
    if reference <= 0.0 or candidate <= 0.0:
        return 1.0 if reference == candidate else 0.0
    return min(max(dot / math.sqrt(reference) / math.sqrt(candidate), -1.0), 1.0)


@dataclass(frozen=True)
class _Kept:
    """One feed's output of both sides."""

    reference: Array
    candidate: Array
    sample: int
    given: tuple[Shape, ...]

    @property
    def differs(self) -> bool:
        return self.reference.shape != self.candidate.shape


class OutputNoise:
    """Running sums of one output. Where FP32 itself is not finite (a mask of -inf), an equal value is no error; nor is
    one runtime's lowest number where another has -inf.

    ``open_axes`` are those whose length may depend on the data. Where both the reference's own length does and a
    candidate's differs, rows are found again (``found_rows``) instead of compared place by place.
    """

    def __init__(self, open_axes: Sequence[int] = ()) -> None:
        self._open_axes = tuple(open_axes)
        self._signal = self._noise = self._dot = self._candidate = self._max_abs = 0.0
        self._agreement = Agreement()
        self._not_finite = self._unlike = self._first_bad = 0
        self._seen = self._numbers = 0
        self._shape_failure = ""
        self._floats = self._finite = True
        self._kept: list[_Kept] | None = [] if open_axes else None
        self.largest = LargestSample()

    def add(self, reference: Array, candidate: Array, sample: int, given: tuple[Shape, ...] = ()) -> None:
        """Take in one feed's output; ``sample`` is the position of its first sample, for messages, ``given`` the shapes
        of its inputs.
        """
        self._floats = "float" in reference.dtype.name
        reference, candidate = _known_to_numpy(reference), _known_to_numpy(candidate)
        self._keep(_Kept(reference, candidate, sample, given))
        if reference.shape != candidate.shape:
            self._shape_failure = self._shape_failure or (
                f"shape {_shape(candidate)} where FP32 gives {_shape(reference)} (sample {sample})"
            )
            self._agreement.disagree(reference)
            return
        reference, candidate = _with_infinite_fills(reference, candidate)
        if reference.dtype.kind not in "fiub":  # strings and the like: decisions only
            self._agreement.add(reference, candidate)
            return
        self._add_sums(*self._without_fills(*self._finite_pairs(reference, candidate, sample)))
        self._agreement.add(reference, candidate)

    def _keep(self, feed: _Kept) -> None:
        if self._kept is not None:
            self._kept.append(feed)
            if sum(kept.reference.nbytes for kept in self._kept) > KEPT_BYTES:
                self._kept = None

    def _by_rows(self) -> OutputNoise | None:
        """The same feeds with rows found again; None where lengths do not depend on the data, or too much was seen."""
        kept = self._kept or []
        axes = {row_axis(k.reference.shape, k.candidate.shape, self._open_axes) for k in kept if k.differs}
        axis = axes.pop() if len(axes) == 1 else None
        if axis is None or not depends_on_data(((k.given, k.reference.shape) for k in kept), axis):
            return None
        found = OutputNoise()
        found._floats = self._floats
        for feed in kept:
            rows = find_rows(feed.reference, feed.candidate, axis)
            if rows is None:
                return None
            pairs = found._finite_pairs(rows.reference, rows.candidate, feed.sample)
            found._add_sums(*found._without_fills(*pairs))
            found._agreement.add_rows(rows.found, len(rows.reference))
        return found

    def _finite_pairs(self, reference: Array, candidate: Array, sample: int) -> tuple[Array, Array]:
        r, c = reference.astype(np.float64).ravel(), candidate.astype(np.float64).ravel()
        self._seen += r.size
        self._numbers += r.size - int(np.count_nonzero(np.isnan(r)))
        with np.errstate(invalid="ignore", over="ignore"):  # infinities of both signs have no sum
            if math.isfinite(float(r.sum())) and math.isfinite(float(c.sum())):
                return r, c
        finite = np.isfinite(r)
        self._finite = self._finite and bool(finite.all())
        bad, unlike = (
            int(np.count_nonzero(where)) for where in (finite & ~np.isfinite(c), ~finite & ~same_values(r, c))
        )
        if (bad or unlike) and not (self._not_finite or self._unlike):
            self._first_bad = sample
        self._not_finite, self._unlike = self._not_finite + bad, self._unlike + unlike
        both = finite & np.isfinite(c)
        return r[both], c[both]

    def _without_fills(self, r: Array, c: Array) -> tuple[Array, Array]:
        if not self._floats or not r.size or max(float(r.max()), -float(r.min())) < LEAST_FILL:
            return r, c
        counts = (np.abs(r) < LEAST_FILL) | (r != c)
        return r[counts], c[counts]

    def _add_sums(self, r: Array, c: Array) -> None:
        if not r.size:
            return
        error = r - c
        self._signal += float(np.dot(r, r))
        self._candidate += float(np.dot(c, c))
        self._dot += float(np.dot(r, c))
        self._noise += float(np.dot(error, error))
        self._max_abs = max(self._max_abs, float(np.abs(error, out=error).max()))

    def result(self) -> OutputAccuracy:
        if self._shape_failure and (found := self._by_rows()) is not None:
            return found.result()
        failure = self._failure()
        share, kind = self._agreement.result()
        return OutputAccuracy(
            cosine=0.0 if failure else cosine_similarity(self._dot, self._signal, self._candidate),
            sqnr_db=-SQNR_CAP_DB if failure else sqnr_db(self._signal, self._noise),
            max_abs=math.inf if self._not_finite or self._unlike else self._max_abs,
            agreement=share,
            agreement_kind=kind,
            failure=failure,
            floats=self._floats,
            finite=self._finite,
            others_db=None if failure else self._others_db(),
        )

    def _others_db(self) -> float | None:
        """See ``OutputAccuracy``."""
        others = self.largest.others()
        if others is None or not self._floats:
            return None
        found = sqnr_db(*others)
        return found if found < TELLING_DB and sqnr_db(self._signal, self._noise) - found >= MUCH_DB else None

    def _failure(self) -> str:
        """Why the figures must not be trusted; empty where they may be."""
        first = f"(first in sample {self._first_bad})"
        if self._not_finite:
            return f"{self._not_finite} values are NaN or infinite where FP32's are finite {first}"
        if self._unlike:
            return f"{self._unlike} values differ where FP32's own are NaN or infinite {first}"
        if self._seen and not self._numbers:
            return "every value of FP32's own is NaN: there is nothing to compare with"
        return self._shape_failure


def _known_to_numpy(array: Array) -> Array:
    """bfloat16 and the 8-bit floats, which numpy counts as no numbers, in float32."""
    return array.astype(np.float32) if array.dtype.kind == "V" else array


def _with_infinite_fills(reference: Array, candidate: Array) -> tuple[Array, Array]:
    """Both with infinities where the reference holds the last number of its type, or infinity, and the candidate that
    of any type: what hides a score, in one runtime's words and in the other's (ONNX Runtime's Attention has -3.4e38
    where the standard says -inf).
    """
    if reference.dtype.kind != "f" or candidate.dtype.kind != "f" or not reference.size:
        return reference, candidate
    limit = np.finfo(reference.dtype).max
    if -limit < reference.min() and reference.max() < limit:
        return reference, candidate
    fills = np.abs(reference) >= limit
    alike = fills & (np.abs(candidate) >= LEAST_FILL) & (np.signbit(candidate) == np.signbit(reference))
    reference = np.where(fills, np.copysign(np.inf, reference), reference)
    return reference, np.where(alike, np.copysign(np.inf, candidate), candidate)


def _shape(array: Array) -> str:
    return "x".join(map(str, array.shape)) or "scalar"
