"""What the data cannot show: samples that are all alike, inputs that never vary, held-back samples seen before."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from calibration.source import SampleSource
from engines.engine import Array, TensorSpec
from graphs.digests import digest_of, sample_parts
from optimizer.stages.data.inputs import Inputs

LOOKED_AT = 64
"""Samples of each part that are looked at: reading all would cost a pass over the data. Chosen."""


@dataclass(frozen=True)
class DataCheck:
    """``warnings`` are sentences for the user; ``shared`` of the held-back samples looked at also calibrate."""

    warnings: list[str] = field(default_factory=list)
    shared: int = 0

    @property
    def held_back_note(self) -> str:
        """What to add to a description of the held-back samples; empty where none was seen before."""
        return f" ({self.shared} of them calibrate too)" if self.shared else ""


def check_data(inputs: Inputs, *, quantizes: bool = True) -> DataCheck:
    """Look at the first samples of both parts; ``quantizes`` says whether ranges are fitted to them. Synthetic samples
    are not looked at: they are what they are.
    """
    if inputs.calibration.synthetic:
        return DataCheck()
    calibration = _Seen.of(inputs.calibration)
    held_back = _Seen.of(inputs.held_back)
    shared = sum(digest in set(calibration.digests) for digest in held_back.digests)
    fitted = [*_one(calibration), *_shared(shared, len(held_back.digests))] if quantizes else []
    return DataCheck([*fitted, *_alike(calibration), *calibration.constants()], shared if quantizes else 0)


def _one(seen: _Seen) -> Iterator[str]:
    if len(seen.digests) == 1:
        yield "there is one calibration sample: ranges fit it alone; give more with --data"


def _alike(seen: _Seen) -> Iterator[str]:
    if len(seen.digests) > 1 and len(set(seen.digests)) == 1:
        yield f"all {len(seen.digests)} calibration samples looked at are the same sample"


def _shared(shared: int, total: int) -> Iterator[str]:
    if shared:
        yield (
            f"{shared} of {total} held-back samples are calibration samples too: accuracy is that of data the ranges "
            "were fitted to; give more samples, or others with --eval-data"
        )


@dataclass
class _Seen:
    """Digests of samples in order, and the one value that an input holds throughout, if it does."""

    digests: list[str] = field(default_factory=list)
    constant: dict[str, float | None] = field(default_factory=dict)

    @classmethod
    def of(cls, source: SampleSource) -> _Seen:
        seen = cls()
        watched = [spec.name for spec in source.specs if _measures(spec)]
        for sample in islice(source.samples(), LOOKED_AT):
            seen.digests.append(digest_of(sample_parts(sample)))
            for name in watched:
                if sample[name].size > 1:
                    seen._watch(name, sample[name])
        return seen

    def _watch(self, name: str, array: Array) -> None:
        first = float(np.ravel(array)[0])
        if self.constant.setdefault(name, first) != first or not bool((array == array.dtype.type(first)).all()):
            self.constant[name] = None

    def constants(self) -> Iterator[str]:
        for name, value in self.constant.items():
            if value is not None:
                yield (
                    f"input {name!r} is {value:g} throughout the {len(self.digests)} samples looked at: "
                    "nothing is learnt of it, and of what follows from it"
                )


def _measures(spec: TensorSpec) -> bool:
    """Floats are measurements and vary; integers and masks may well be constant."""
    return "float" in spec.dtype and "mask" not in spec.name.lower()
