"""Inputs for the check: a user's ``.npz``, or seeded random ones."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from engines.engine import Array, Feed, TensorSpec, joinable
from engines.errors import BadInput

RANDOM_SAMPLES = 32


def load_feeds(specs: Sequence[TensorSpec], inputs: Path | None) -> list[Feed]:
    """One feed per sample, each with the model's own rank; ``inputs`` is an ``.npz`` whose first axis is the samples.

    Raises ``BadInput`` for a file that does not fit, and for random inputs of a model whose shape is open beyond the
    batch.
    """
    if inputs is None:
        return [_random(specs, np.random.default_rng(seed)) for seed in range(RANDOM_SAMPLES)]
    return _from_file(specs, inputs)


def _random(specs: Sequence[TensorSpec], rng: np.random.Generator) -> Feed:
    return {spec.name: _random_array(spec, rng) for spec in specs}


def _random_array(spec: TensorSpec, rng: np.random.Generator) -> Array:
    shape = tuple(1 if axis == 0 and isinstance(extent, str) else extent for axis, extent in enumerate(spec.shape))
    if any(isinstance(extent, str) for extent in shape):
        raise BadInput(
            f"input {spec.name!r} has open shape {spec.shape}", where="--inputs", fix="pass --inputs DATA.npz"
        )
    sizes = tuple(int(extent) for extent in shape)
    dtype = spec.numpy_dtype()
    return rng.standard_normal(sizes).astype(dtype) if dtype.kind == "f" else rng.integers(0, 2, sizes).astype(dtype)


def _from_file(specs: Sequence[TensorSpec], path: Path) -> list[Feed]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise BadInput(f"cannot be read as .npz: {error}", where=str(path)) from error
    for spec in specs:
        if spec.name not in arrays:
            raise BadInput(f"lacks input {spec.name!r}", where=str(path), expected=", ".join(s.name for s in specs))
    counts = {arrays[spec.name].shape[0] for spec in specs}
    if len(counts) != 1 or 0 in counts:
        raise BadInput("its arrays differ in their first axis, or are empty", where=str(path))
    keep_axis = joinable(specs)
    return [
        {spec.name: _sample(arrays[spec.name], index, spec, keep_axis) for spec in specs}
        for index in range(counts.pop())
    ]


def _sample(array: Array, index: int, spec: TensorSpec, keep_axis: bool) -> Array:
    part = array[index : index + 1] if keep_axis or array.ndim == len(spec.shape) else array[index]
    return np.asarray(part, spec.numpy_dtype(), order="C")
