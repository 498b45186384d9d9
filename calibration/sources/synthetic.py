"""Seeded inputs for a model that comes without data. Ranges taken from them are not calibrated, and are stamped so."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np

from engines.engine import Array, Feed, TensorSpec
from engines.errors import BadInput

DEFAULT_SAMPLES = 32
INTEGER_BOUND = 2
"""Where nothing is known of an integer input, 0 and 1 are the values least likely to be out of range."""

IMAGE_SIDE, SEQUENCE_LENGTH, OTHER_LENGTH = 224, 64, 16


class SyntheticSource:
    """Floats from N(0, 1) as normalized inputs have them, uint8 from 0..255, integers from 0..bound - 1, masks of ones.

    ``integer_bounds``: input name -> one more than the largest value the graph can take (rows of an embedding table).
    ``shapes``: input name -> full shape where the model's axes are dynamic. Sample i depends on (seed, i) alone.
    """

    synthetic = True

    def __init__(
        self,
        specs: Sequence[TensorSpec],
        *,
        samples: int | None = None,
        seed: int = 0,
        integer_bounds: Mapping[str, int] | None = None,
        shapes: Mapping[str, Sequence[int]] | None = None,
    ) -> None:
        self.specs, self._seed = tuple(specs), seed
        self._count = DEFAULT_SAMPLES if samples is None else samples
        self._bounds = dict(integer_bounds or {})
        self._shapes = sample_shapes(specs, shapes or {})
        self.description = f"{self._count} synthetic samples (seed {seed})"
        self.notes = ("synthetic inputs: ranges do not reflect real data", *self._assumptions())

    @property
    def digest(self) -> str:
        text = f"synthetic 1 {self._seed} {self._count} {self.specs} {self._shapes} {sorted(self._bounds.items())}"
        return hashlib.sha256(text.encode()).hexdigest()

    def __len__(self) -> int:
        return self._count

    def samples(self) -> Iterator[Feed]:
        return self.samples_at(range(self._count))

    def samples_at(self, indices: Collection[int]) -> Iterator[Feed]:
        """Only these samples, in order."""
        for index in sorted(indices):
            rng = np.random.default_rng([self._seed, index])
            yield {spec.name: self._array(spec, rng) for spec in self.specs}

    def _array(self, spec: TensorSpec, rng: np.random.Generator) -> Array:
        shape, dtype = self._shapes[spec.name], spec.numpy_dtype()
        if "mask" in spec.name.lower():
            return np.ones(shape, dtype)
        if "float" in dtype.name:
            return np.asarray(rng.standard_normal(shape, np.float32)).astype(dtype)
        return np.asarray(rng.integers(0, self._bound(spec), shape)).astype(dtype)

    def _bound(self, spec: TensorSpec) -> int:
        if spec.name in self._bounds:
            return max(self._bounds[spec.name], 1)
        return 256 if spec.dtype == "uint8" else INTEGER_BOUND

    def _assumptions(self) -> Iterator[str]:
        for spec in self.specs:
            if spec.dynamic:
                yield f"{spec.name!r} {list(spec.shape)} is fed as {list(self._shapes[spec.name])}"
            kind = spec.numpy_dtype().kind
            if kind in "iu" and "mask" not in spec.name.lower() and spec.name not in self._bounds:
                yield f"{spec.name!r} takes integers of an unknown range: fed 0..{self._bound(spec) - 1}"


def sample_shapes(specs: Sequence[TensorSpec], given: Mapping[str, Sequence[int]]) -> dict[str, tuple[int, ...]]:
    """The shape of each input in one sample. Axis 0 is one where dynamic; other symbols take the length ``given`` for
    an input that has them, else a default; one symbol has one length throughout.
    """
    lengths: dict[str, int] = {}
    for spec in specs:
        for symbol, length in zip(spec.shape, _given(spec, given), strict=False):
            if isinstance(symbol, str):
                lengths.setdefault(symbol, length)
    for spec in specs:
        if spec.shape and isinstance(spec.shape[0], str):
            lengths[spec.shape[0]] = 1
    return {s.name: tuple(_length(s, axis, lengths, given) for axis in range(len(s.shape))) for s in specs}


def _given(spec: TensorSpec, given: Mapping[str, Sequence[int]]) -> Sequence[int]:
    shape = given.get(spec.name, ())
    if spec.name in given and len(shape) != len(spec.shape):
        raise BadInput(
            f"shape {list(shape)} has {len(shape)} axes", where=spec.name, expected=f"{list(spec.shape)} of the model"
        )
    return shape


def _length(spec: TensorSpec, axis: int, lengths: Mapping[str, int], given: Mapping[str, Sequence[int]]) -> int:
    symbol = spec.shape[axis]
    if isinstance(symbol, int):
        return symbol
    if symbol != "?" and symbol in lengths:
        return lengths[symbol]
    if axis == 0:
        return 1
    if spec.name in given:
        return given[spec.name][axis]
    if any(word in symbol.lower() for word in ("batch", "past")):
        return 1
    if len(spec.shape) == 4 and "float" in spec.dtype:
        return IMAGE_SIDE
    return SEQUENCE_LENGTH if any(word in symbol.lower() for word in ("seq", "len", "time", "token")) else OTHER_LENGTH
