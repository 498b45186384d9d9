"""The shapes in the data, and the optimization profiles that cover them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from calibration.sources.observed import observed_shapes
from engines.profile import LARGEST_BATCH, Shape, ShapeProfile, infer_profile
from optimizer.stages.data.data_check import LOOKED_AT
from optimizer.stages.job import Job

LARGEST_BATCH_BYTES = 64 << 20
"""A profile grows to ``LARGEST_BATCH`` samples, and to this many bytes of inputs: one for 32 volumes would help nobody.
Chosen."""


def profiles(job: Job, observed: Mapping[str, Sequence[Shape]], sample: Mapping[str, Shape]) -> list[ShapeProfile]:
    """One per ``--shape`` set, at least one; ``sample`` holds the shapes of one sample."""
    largest = _largest_batch(job, sample)
    return [infer_profile(job.specs, observed, given, max_batch=largest) for given in job.shape_profiles]


def shapes_in_data(job: Job) -> dict[str, list[Shape]]:
    """The shapes in the data: of all of it where lengths vary: a plan takes none that its profile does not cover."""
    vary = any(isinstance(d, str) for spec in job.specs for d in (spec.shape[1:] if spec.batched else spec.shape))
    limit = None if vary else LOOKED_AT
    held_back, calibration = (observed_shapes(part, limit) for part in (job.inputs.held_back, job.inputs.calibration))
    both = {name: {*shapes, *held_back[name]} for name, shapes in calibration.items()}
    return {name: sorted(shapes, key=lambda shape: (math.prod(shape), shape)) for name, shapes in both.items()}


def uncovered(job: Job, observed: Mapping[str, Sequence[Shape]], profiles: Sequence[ShapeProfile]) -> Iterator[str]:
    """Sentences on inputs of which no profile covers the largest shapes seen; a batch of one is no reason."""
    for spec in job.specs:
        ranges = [profile.inputs[spec.name] for profile in profiles if spec.name in profile.inputs]
        start = 1 if spec.batched else 0
        missing = [
            shape
            for shape in observed[spec.name]
            if ranges and not any(r.covers((*r.opt[:start], *shape[start:])) for r in ranges)
        ]
        if missing:
            yield f"{spec.name!r} is {'x'.join(map(str, missing[-1]))} in the data, which no --shape covers"


def _largest_batch(job: Job, sample: Mapping[str, Shape]) -> int:
    """As many samples as fit in 64 MiB of inputs, at most 32: a profile for 32 volumes would help nobody."""
    size = 0
    for spec in job.specs:
        elements = 1
        for dimension in sample[spec.name]:
            elements *= dimension
        size += elements * spec.numpy_dtype().itemsize
    return max(1, min(LARGEST_BATCH, LARGEST_BATCH_BYTES // max(size, 1)))
