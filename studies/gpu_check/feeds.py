"""Inputs for the check: a user's ``.npz`` or function, or seeded random ones."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from engines.engine import Array, Feed, TensorSpec, batchable
from engines.user_code import load_callable
from graphs.errors import BadInput

RANDOM_SAMPLES = 32
MOST_SAMPLES = 256


def load_feeds(specs: Sequence[TensorSpec], inputs: Path | str | None) -> list[Feed]:
    """One feed per sample, each with the model's own rank.

    ``inputs`` is an ``.npz`` whose first axis is the samples, or ``file.py:function`` that yields one sample after the
    other, of which the first 256 are taken.

    Raises ``BadInput`` for a file that does not fit, and for random inputs of a model whose shape is open beyond the
    batch.
    """
    if inputs is None:
        return [_random(specs, np.random.default_rng(seed)) for seed in range(RANDOM_SAMPLES)]
    if ":" in Path(inputs).name:
        return _from_function(specs, str(inputs))
    return _from_file(specs, Path(inputs))


def _from_function(specs: Sequence[TensorSpec], source: str) -> list[Feed]:
    samples = list(islice(load_callable(source)(), MOST_SAMPLES))
    if not samples:
        raise BadInput("yields no samples", where=source)
    for spec in specs:
        if spec.name not in samples[0]:
            raise BadInput(f"lacks input {spec.name!r}", where=source, expected=", ".join(s.name for s in specs))
    return [{spec.name: _with_batch(sample[spec.name], spec) for spec in specs} for sample in samples]


def _with_batch(array: Array, spec: TensorSpec) -> Array:
    whole = array[None] if array.ndim == len(spec.shape) - 1 else array
    return np.asarray(whole, spec.numpy_dtype(), order="C")


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
    keep_axis = batchable(specs)
    return [
        {spec.name: _sample(arrays[spec.name], index, spec, keep_axis) for spec in specs}
        for index in range(counts.pop())
    ]


def _sample(array: Array, index: int, spec: TensorSpec, keep_axis: bool) -> Array:
    part = array[index : index + 1] if keep_axis or array.ndim == len(spec.shape) else array[index]
    return np.asarray(part, spec.numpy_dtype(), order="C")
