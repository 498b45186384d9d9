"""Images for models: read, cropped, resized and normalised as the reference implementations do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from engines.engine import Array, Feed, TensorSpec
from graphs.errors import BadInput

FILTERS = {"area": Image.Resampling.BOX, "bilinear": Image.Resampling.BILINEAR}
"""OpenCV's INTER_AREA is PIL's box filter when shrinking; last bits differ."""


def read_image(path: Path) -> Image.Image:
    """An RGB image. Raises ``BadInput`` naming the file."""
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except OSError as error:
        raise BadInput(f"cannot be read as an image: {error}", where=str(path)) from error


@dataclass(frozen=True)
class ImageInput:
    """The model's one image input: its size, layout and dtype."""

    name: str
    dtype: str
    size: tuple[int, int]
    channels_first: bool

    @staticmethod
    def of(specs: Sequence[TensorSpec], default: tuple[int, int]) -> ImageInput:
        """Read off the spec; ``default`` is (height, width) where those are dynamic. Raises ``BadInput``."""
        if len(specs) != 1 or len(specs[0].shape) != 4 or 3 not in (specs[0].shape[1], specs[0].shape[3]):
            shapes = "; ".join(f"{spec.name} [{', '.join(map(str, spec.shape))}]" for spec in specs)
            raise BadInput(
                "is not a model of colour images",
                where=f"inputs {shapes}",
                expected="one input [batch, 3, height, width] or [batch, height, width, 3]",
            )
        spec = specs[0]
        first = spec.shape[1] == 3
        size = spec.shape[2:4] if first else spec.shape[1:3]
        height, width = (d if isinstance(d, int) else usual for d, usual in zip(size, default, strict=True))
        return ImageInput(spec.name, spec.dtype, (height, width), first)

    def feed(self, pixels: Array) -> Feed:
        """From [height, width, 3] to the model's layout and dtype, with a batch axis of 1."""
        array = pixels.transpose(2, 0, 1) if self.channels_first else pixels
        return {self.name: np.ascontiguousarray(array[None].astype(self.dtype, copy=False))}


@dataclass(frozen=True)
class ImageSteps:
    """``(pixel - mean) / std`` on pixels of 0 to 255, RGB.

    ``central``: the image is resized, keeping its aspect, so that a central crop of the model's size covers this share
    of the shorter side (0.875: 256 for a crop of 224); None resizes to the model's size whatever the aspect.
    """

    central: float | None = None
    filter: Literal["area", "bilinear"] = "bilinear"
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def array(self, image: Image.Image, target: ImageInput) -> Array:
        """[height, width, 3], float32, or uint8 where the model takes that and nothing is to be normalised."""
        height, width = target.size
        sized = self._central(image, height, width) if self.central else self._resized(image, width, height)
        pixels = np.asarray(sized)
        if target.dtype == "uint8":
            return pixels
        values: Array = (pixels.astype(np.float32) - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)
        return values

    def _resized(self, image: Image.Image, width: int, height: int) -> Image.Image:
        growing = width > image.width or height > image.height  # INTER_AREA interpolates linearly there
        return image.resize((width, height), FILTERS["bilinear" if growing else self.filter])

    def _central(self, image: Image.Image, height: int, width: int) -> Image.Image:
        assert self.central is not None
        tall, wide = int(height / self.central), int(width / self.central)
        if image.height > image.width:
            tall = int(tall * image.height / image.width)
        else:
            wide = int(wide * image.width / image.height)
        sized = self._resized(image, wide, tall)
        left, top = int((wide - width) / 2), int((tall - height) / 2)
        return sized.crop((left, top, left + width, top + height))
