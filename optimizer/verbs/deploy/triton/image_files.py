"""Image files as what clients send: the ``preprocess.toml`` that data was read by becomes the function before the
model, so that a server prepares images as calibration did."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from calibration.sources.images import ImageSpec, read_spec, usual_spec
from deployment.served_engine import read_served_engines
from deployment.triton.repository.ensemble import Around
from engines.engine import Array, TensorSpec
from graphs.errors import BadInput

SUFFIX = ".toml"
INPUT = "image"
"""What clients send: the bytes of a JPEG, PNG, … file, as uint8."""
_FILE, _FUNCTION = "image_file.py", "decoded"
_SAMPLE = (48, 64)
"""Height and width of the image that the function is tried on. Chosen: neither square nor a model's usual size."""
_SOURCE = '''\
"""From an image file's bytes to the model's input, as {origin} says. Written by `optimize deploy`."""

import io

import numpy as np
from calibration.sources.images import ImageSpec, image_input
from engines.engine import TensorSpec

SPEC = {spec!r}
INPUT = TensorSpec({name!r}, {dtype!r}, {shape!r})


def {function}(feed):
    rows = np.atleast_2d(feed[{image!r}])
    images = [image_input(io.BytesIO(row.tobytes()), SPEC, INPUT, {image!r}) for row in rows]
    return {{INPUT.name: np.concatenate(images).astype(INPUT.numpy_dtype())}}
'''


@contextmanager
def images_read(around: Around | None, bundle: Path, targets: Sequence[str]) -> Iterator[Around | None]:
    """``around`` with a function in place of a ``preprocess.toml`` as what is to run before the model; its file is
    there as long as the context. Raises ``BadInput`` for a spec that cannot be read and a model that takes no image.
    """
    if around is None or not around.before.endswith(SUFFIX):
        yield around
        return
    path = Path(around.before)
    inputs = read_served_engines(bundle, targets or None)[0].manifest.inputs
    if len(inputs) != 1:
        what = f"images feed models with one input, this one has {len(inputs)}"
        raise BadInput(what, where=str(path), fix="write a function (FILE.py:FUNCTION)")
    (tensor,) = inputs
    spec = read_spec(path, usual_spec(tensor))
    with tempfile.TemporaryDirectory(prefix="image-files-") as folder:
        file = Path(folder) / _FILE
        file.write_text(_source(path.name, spec, tensor), encoding="utf-8")
        sample = _sample()
        raw = {INPUT: sample[None] if tensor.batched else sample}
        yield replace(around, before=f"{file}:{_FUNCTION}", raw=raw, free=frozenset({INPUT}))


def _source(origin: str, spec: ImageSpec, tensor: TensorSpec) -> str:
    shape = tuple(1 if index == 0 and tensor.batched else size for index, size in enumerate(tensor.shape))
    return _SOURCE.format(
        origin=origin, spec=spec, name=tensor.name, dtype=tensor.dtype, shape=shape, function=_FUNCTION, image=INPUT
    )


def _sample() -> Array:
    """A PNG file's bytes."""
    pixels = np.random.default_rng(0).integers(0, 256, (*_SAMPLE, 3), np.uint8)
    written = io.BytesIO()
    Image.fromarray(pixels).save(written, "png")
    return np.frombuffer(written.getvalue(), np.uint8)
