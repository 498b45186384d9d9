"""Joining samples into batches and telling how many samples a feed holds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engines.engine import Array, Feed, TensorSpec
from engines.feeds.batching import batched_names
from engines.manifest import EngineManifest


def sample_count(specs: Sequence[TensorSpec], feed: Feed) -> int:
    """Samples in one feed: the length of axis 0 where the inputs are batchable, else one."""
    names = batched_names(specs)
    return int(feed[names[0]].shape[0]) if names else 1


def repeat_to_batch(specs: Sequence[TensorSpec], feed: Feed, batch: int) -> dict[str, Array] | None:
    """``feed`` repeated along axis 0 to ``batch`` samples; None where the model takes no batches."""
    names = batched_names(specs)
    if not names:
        return None
    return {name: _cycle(array, batch) if name in names else array for name, array in feed.items()}


def smallest_feed(sample: Feed, manifest: EngineManifest) -> Feed:
    """``sample``, or as often as the engine takes samples at least."""
    ranges = [manifest.profile.inputs.get(name) for name in batched_names(manifest.inputs)]
    least = max((shapes.min[0] for shapes in ranges if shapes is not None), default=1)
    return (repeat_to_batch(manifest.inputs, sample, least) or sample) if least > 1 else sample


def _cycle(array: Array, batch: int) -> Array:
    return np.ascontiguousarray(array[np.arange(batch) % array.shape[0]])
