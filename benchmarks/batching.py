"""Joining samples into batches and telling how many samples a feed holds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engines.engine import Array, Feed, TensorSpec, joinable


def sample_count(specs: Sequence[TensorSpec], feed: Feed) -> int:
    """Samples in one feed: the length of axis 0 where the inputs are joinable, else one."""
    return int(feed[specs[0].name].shape[0]) if joinable(specs) else 1


def repeat_to_batch(specs: Sequence[TensorSpec], feed: Feed, batch: int) -> dict[str, Array] | None:
    """``feed`` repeated along axis 0 to ``batch`` samples; None where the model takes no batches."""
    if not joinable(specs):
        return None
    return {name: _cycle(array, batch) for name, array in feed.items()}


def _cycle(array: Array, batch: int) -> Array:
    return np.ascontiguousarray(array[np.arange(batch) % array.shape[0]])
