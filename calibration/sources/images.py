"""Image files as samples: the preprocessing spec, its defaults from the model's input, and reading one image."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import BinaryIO, Literal, get_args, get_origin, get_type_hints

import msgspec
import numpy as np
from PIL import Image

from calibration.sources.inputs import fit_sample, spec_text
from engines.engine import Array, Feed, TensorSpec
from graphs.errors import BadInput

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})
SPEC_FILE = "preprocess.toml"
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of the training images in 0..1, RGB (torchvision's transforms)."""

Size = int | tuple[int, int]


@dataclass(frozen=True)
class ImageSpec:
    """How an image becomes an array: ``(pixel * scale - mean) / std``, pixels 0..255.

    ``resize``: the shorter side in pixels, or (height, width) exactly; with ``letterbox`` (a grey level 0..255) the
    aspect ratio is kept and the rest of (height, width) filled. ``crop``: centre crop, (height, width) or a square.
    ``mean`` and ``std`` have one value per channel in the order of ``color``, or are empty (0 and 1).
    """

    resize: Size | None = None
    crop: Size | None = None
    letterbox: int | None = None
    color: Literal["rgb", "bgr", "grey"] = "rgb"
    layout: Literal["nchw", "nhwc"] = "nchw"
    scale: float = 1 / 255
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    interpolation: Literal["bilinear", "bicubic", "nearest", "lanczos"] = "bilinear"

    def __post_init__(self) -> None:
        channels = 1 if self.color == "grey" else 3
        for name, values in (("mean", self.mean), ("std", self.std)):
            if values and len(values) != channels:
                raise ValueError(f"{name} has {len(values)} values, {self.color} images {channels} channels")
        if any(value == 0 for value in self.std):
            raise ValueError("std must not be zero")
        if any(side <= 0 for size in (self.resize, self.crop) if size is not None for side in _pair(size)):
            raise ValueError("resize and crop must be positive")

    def array(self, image: Image.Image) -> Array:
        """float32 [1, channels, height, width] or [1, height, width, channels]."""
        image = image.convert("L" if self.color == "grey" else "RGB")
        image = _cropped(self._resized(image), self.crop)
        pixels = np.asarray(image, np.float32).reshape(image.height, image.width, -1)
        if self.color == "bgr":
            pixels = pixels[..., ::-1]
        values: Array = pixels * np.float32(self.scale)
        if self.mean:
            values = values - np.asarray(self.mean, np.float32)
        if self.std:
            values = values / np.asarray(self.std, np.float32)
        return (values.transpose(2, 0, 1) if self.layout == "nchw" else values)[None]

    def _resized(self, image: Image.Image) -> Image.Image:
        if self.resize is None:
            return image
        method = Image.Resampling[self.interpolation.upper()]
        if self.letterbox is not None:
            return _letterboxed(image, _pair(self.resize), self.letterbox, method)
        if isinstance(self.resize, tuple):
            return image.resize(self.resize[::-1], method)
        factor = self.resize / min(image.size)
        return image.resize((round(image.width * factor), round(image.height * factor)), method)

    def text(self) -> str:
        """In a few words, for notes."""
        steps = [f"resize {self.resize}"] if self.resize else ["own size"]
        steps += [f"letterbox {self.letterbox}"] * (self.letterbox is not None)
        steps += [f"centre crop {self.crop}"] * (self.crop is not None)
        scale = "pixel / 255" if abs(self.scale * 255 - 1) < 1e-6 else f"pixel * {self.scale:g}"
        normalized = f"mean {list(self.mean)}, std {list(self.std)}" if self.mean or self.std else "no mean or std"
        return ", ".join([*steps, self.color.upper(), self.layout.upper(), scale, normalized])


def _pair(size: Size) -> tuple[int, int]:
    return size if isinstance(size, tuple) else (size, size)


def _cropped(image: Image.Image, crop: Size | None) -> Image.Image:
    if crop is None:
        return image
    height, width = _pair(crop)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def _letterboxed(image: Image.Image, size: tuple[int, int], grey: int, method: Image.Resampling) -> Image.Image:
    height, width = size
    factor = min(height / image.height, width / image.width)
    inner = image.resize((max(1, round(image.width * factor)), max(1, round(image.height * factor))), method)
    canvas = Image.new(image.mode, (width, height), grey if image.mode == "L" else (grey,) * 3)
    canvas.paste(inner, ((width - inner.width) // 2, (height - inner.height) // 2))
    return canvas


def default_spec(spec: TensorSpec) -> ImageSpec:
    """What the input's shape says: layout and colours by where 3 or 1 channels stand, size by height and width.

    Raises ``BadInput`` where the input cannot take an image.
    """
    shape = spec.shape[-3:]
    layout: Literal["nchw", "nhwc"] = "nhwc" if shape and shape[0] not in (1, 3) and shape[-1] in (1, 3) else "nchw"
    channels = shape[0] if layout == "nchw" else shape[-1]
    if len(shape) != 3 or channels not in (1, 3) or len(spec.shape) not in (3, 4):
        raise BadInput(
            "images cannot be fed to this input without being told how",
            where=spec.name,
            expected=f"[N, 3 or 1, H, W] or [N, H, W, 3 or 1], the model has {spec_text(spec)}",
            fix="hand over .npz files instead",
        )
    height, width = shape[1:] if layout == "nchw" else shape[:2]
    size = (height, width) if isinstance(height, int) and isinstance(width, int) else None
    # Shorter side to the target's longer one, then the centre: no distortion, no border.
    return ImageSpec(
        resize=max(size) if size else None,
        crop=size,
        color="grey" if channels == 1 else "rgb",
        layout=layout,
        scale=1.0 if spec.dtype == "uint8" else 1 / 255,
    )


def usual_spec(spec: TensorSpec) -> ImageSpec:
    """Defaults under a ``preprocess.toml``; an input of unusual shape takes what the file says."""
    try:
        return default_spec(spec)
    except BadInput:
        return ImageSpec()


def read_spec(path: Path, base: ImageSpec) -> ImageSpec:
    """A ``preprocess.toml``: the fields of ``ImageSpec``, over ``base`` for layout, colour and scale where left out;
    ``normalize = "imagenet"`` stands for ImageNet's mean and std. Raises ``BadInput`` naming the field.
    """
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
        if settings.get("normalize") == "imagenet":
            del settings["normalize"]
            settings |= {"mean": IMAGENET_MEAN, "std": IMAGENET_STD}
        if unknown := sorted(settings.keys() - {f.name for f in fields(ImageSpec)}):
            raise ValueError(f"unknown setting {', '.join(map(repr, unknown))}")
        kept = {name: getattr(base, name) for name in ("layout", "color", "scale")}
        return msgspec.convert(kept | settings, ImageSpec, strict=True)
    except OSError as error:
        raise BadInput(f"cannot be read: {error.strerror}", where=str(path)) from error
    except (ValueError, msgspec.ValidationError) as error:
        raise BadInput(
            f"not a preprocessing spec: {error}", where=str(path), expected=f"settings {_known()}"
        ) from error


def _known() -> str:
    """The settings, those of a few words with them."""
    words = {name: get_args(hint) for name, hint in get_type_hints(ImageSpec).items() if get_origin(hint) is Literal}
    named = (f"{f.name} ({', '.join(words[f.name])})" if f.name in words else f.name for f in fields(ImageSpec))
    return ", ".join([*named, 'normalize = "imagenet"'])


@dataclass(frozen=True)
class ImageRecord:
    """One image file: one sample."""

    path: Path
    spec: TensorSpec
    image: ImageSpec
    count: int = field(default=1, init=False)

    @property
    def files(self) -> tuple[Path, ...]:
        return (self.path,)

    def samples(self, chosen: Collection[int]) -> Iterator[Feed]:
        array = image_input(self.path, self.image, self.spec, str(self.path))
        yield fit_sample({self.spec.name: array}, [self.spec], str(self.path))


def image_input(file: Path | BinaryIO, image: ImageSpec, spec: TensorSpec, where: str) -> Array:
    """What the input ``spec`` gets of an image file, one sample. Raises ``BadInput`` for what is no image."""
    try:
        with Image.open(file) as opened:
            array = image.array(opened)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        what = f"not a readable image: {error}"
        raise BadInput(what, where=where, fix="replace or remove this file") from error
    if len(spec.shape) == 3:
        array = array[0]
    return array.round().clip(0, 255).astype(np.uint8) if spec.dtype == "uint8" else array
