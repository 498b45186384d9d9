"""Seeded inputs for a model that comes without data. Ranges taken from them are not calibrated, and are stamped so."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.source import Sample
from calibration.sources.lengths import sample_shapes
from calibration.sources.records import PEEKED
from calibration.sources.scenes import scene
from engines.engine import Array, Feed, TensorSpec
from graphs.digests import digest_of

Floats = NDArray[np.float64]

DEFAULT_SAMPLES = 96
"""Made-up samples where no number is asked for; chosen: more add little, for all are of one kind."""
INTEGER_BOUND = 2
"""Where nothing is known of an integer input, 0 and 1 are the values least likely to be out of range. Chosen."""

SMALLEST_SCENE = 8
"""Shortest spatial axis that is fed with scenes. Chosen."""


@dataclass(frozen=True)
class Affine:
    """``gain * x + offset`` per channel, each [channels]."""

    gain: Floats
    offset: Floats

    @classmethod
    def constant(cls, gain: float, offset: float, channels: int) -> Affine:
        return cls(np.full(channels, gain), np.full(channels, offset))

    def moved(self, factor: Floats, by: Floats) -> Affine:
        """Gains times ``factor``, offsets ``by`` so many (old) deviations further."""
        return Affine(self.gain * factor, self.offset + by * self.gain)

    def apply(self, values: Array, axis: int) -> Array:
        shape = [-1 if position == axis % values.ndim else 1 for position in range(values.ndim)]
        return (values * self.gain.reshape(shape) + self.offset.reshape(shape)).astype(values.dtype)

    def describe(self) -> str:
        offsets, gains = (", ".join(f"{value:.3g}" for value in part) for part in (self.offset, self.gain))
        return f"mean {offsets} and deviation {gains}"


class SyntheticSource:
    """Images and volumes (rank 4 and 5, few channels) are scenes, see ``scenes``; other floats are from N(0, 1) as
    normalized inputs have them, uint8 from 0..255, integers from 0..bound - 1, masks are ones.

    ``integer_bounds``: input name -> one more than the largest value the graph can take (rows of an embedding table).
    ``sizes`` names inputs whose values are sizes (a shape to expand to): they are ones, which suits any operator.
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
        sizes: Collection[str] = (),
    ) -> None:
        self.specs, self._seed = tuple(specs), seed
        self._count = DEFAULT_SAMPLES if samples is None else samples
        self._bounds = dict(integer_bounds or {})
        self._sizes = frozenset(sizes)
        self._shapes = sample_shapes(specs, shapes or {})
        self.description = f"{self._count} synthetic samples (seed {seed})"
        self._scenes = {spec.name: axis for spec in specs if (axis := _channel_axis(spec, self._shapes)) is not None}
        self._affines: dict[str, Affine] = {}
        self.notes = ("synthetic inputs: ranges do not reflect real data", *self._assumptions())

    @property
    def digest(self) -> str:
        scaled = {name: (affine.gain.tolist(), affine.offset.tolist()) for name, affine in self._affines.items()}
        bounds = sorted(self._bounds.items())
        sizes = sorted(self._sizes)
        text = f"synthetic 2 {self._seed} {self._count} {self.specs} {self._shapes} {bounds} {sizes} {scaled}"
        return digest_of([text])

    @property
    def scene_inputs(self) -> dict[str, int]:
        """Inputs fed with scenes, and where their channels are."""
        return dict(self._scenes)

    def scaled(self, affines: Mapping[str, Affine], note: str) -> SyntheticSource:
        """The same samples with the scenes of some inputs scaled channel by channel."""
        twin = copy(self)
        twin._affines = {**self._affines, **affines}
        twin.notes = (*self.notes, note)
        return twin

    def __len__(self) -> int:
        return self._count

    def peek(self, rows: int | None) -> list[Feed]:
        """Two samples; they are short."""
        return list(self.samples_at(range(PEEKED)))

    def samples(self) -> Iterator[Feed]:
        return self.samples_at(range(self._count))

    def samples_at(self, indices: Collection[int]) -> Iterator[Feed]:
        """Only these samples, in order."""
        for index in sorted(indices):
            rng = np.random.default_rng([self._seed, index])
            yield Sample({spec.name: self._array(spec, rng) for spec in self.specs}, f"synthetic sample {index}")

    def _array(self, spec: TensorSpec, rng: np.random.Generator) -> Array:
        shape, dtype = self._shapes[spec.name], spec.numpy_dtype()
        if "mask" in spec.name.lower():
            return np.ones(shape, dtype)
        if spec.name in self._scenes:
            return self._scene(spec.name, shape, rng).astype(dtype)
        if "float" in dtype.name:
            return np.asarray(rng.standard_normal(shape, np.float32)).astype(dtype)
        if spec.name in self._sizes:
            return np.ones(shape, dtype)
        return np.asarray(rng.integers(0, self._bound(spec), shape)).astype(dtype)

    def _scene(self, name: str, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
        axis = self._scenes[name]
        sizes = [size for position, size in enumerate(shape) if position not in (0, axis)]
        scenes = np.stack([np.moveaxis(scene(rng, shape[axis], sizes), 0, axis - 1) for _ in range(shape[0])])
        return self._affines[name].apply(scenes, axis) if name in self._affines else scenes

    def _bound(self, spec: TensorSpec) -> int:
        if spec.name in self._bounds:
            return max(self._bounds[spec.name], 1)
        return 256 if spec.dtype == "uint8" else INTEGER_BOUND

    def _assumptions(self) -> Iterator[str]:
        for spec in self.specs:
            if spec.dynamic:
                yield f"{spec.name!r} {list(spec.shape)} is fed as {list(self._shapes[spec.name])}"
            kind = spec.numpy_dtype().kind
            if kind in "iu" and "mask" not in spec.name.lower() and spec.name not in (*self._bounds, *self._sizes):
                yield f"{spec.name!r} takes integers of an unknown range: fed 0..{self._bound(spec) - 1}"


def _channel_axis(spec: TensorSpec, shapes: Mapping[str, tuple[int, ...]]) -> int | None:
    """Where the channels of an image or volume are: axis 1 or the last, whichever is short; None for other inputs."""
    shape = shapes[spec.name]
    if len(shape) not in (4, 5) or "float" not in spec.dtype:
        return None
    for axis in (1, len(shape) - 1):
        sizes = [size for position, size in enumerate(shape) if position not in (0, axis)]
        if shape[axis] in (1, 2, 3, 4) and min(sizes) >= SMALLEST_SCENE:
            return axis
    return None
