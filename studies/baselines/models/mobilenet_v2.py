"""MobileNetV2 on ImageNet crops: ten images calibrate, crops of ten others are held back.

There are too few labelled images for top-1, so the metric is top-1 agreement with FP32 on unseen crops.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from engines.engine import Array, Feed
from studies.baselines.task import Infer, joined

MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)


class MobileNet:
    metric = "top-1 agreement with FP32"
    output = "logits"
    transformer = False

    def __init__(self, folder: Path) -> None:
        self._files = sorted((folder / "images").glob("*.jpg"))
        self._unseen_files = self._files[1::2]
        self._crops: dict[int, list[Feed]] = {}

    def calibration(self, quick: bool) -> list[Feed]:
        return list(_crops(self._files[0::2], 16 if quick else 128, seed=0))

    def plenty(self) -> list[Feed]:
        return list(_crops(self._files[0::2], 512, seed=0))

    def held_back(self, quick: bool) -> list[Feed]:
        return self._unseen(32 if quick else 128)

    def half(self, which: int) -> Labelled:
        """Crops of every other image that is held back, by their labels."""
        return Labelled(self._unseen_files[which::2])

    def score(self, infer: Infer, reference: Infer, quick: bool) -> float:
        equal = total = 0
        for feed in joined(self._unseen(32 if quick else 256), 8):
            same = infer(feed)["logits"].argmax(1) == reference(feed)["logits"].argmax(1)
            equal, total = equal + int(same.sum()), total + len(same)
        return equal / total

    def _unseen(self, count: int) -> list[Feed]:
        if count not in self._crops:  # a search asks for them again and again
            self._crops[count] = list(_crops(self._unseen_files, count, seed=1))
        return self._crops[count]


class Labelled(MobileNet):
    """Top-1 on crops of a few images: their labels are in the names of the files, ``imagenet_00_243.jpg``."""

    metric = "top-1 of crops"

    def __init__(self, files: Sequence[Path]) -> None:
        self._unseen_files, self._crops = list(files), {}

    def score(self, infer: Infer, reference: Infer, quick: bool) -> float:
        count = 32 if quick else 256
        files = [self._unseen_files[k % len(self._unseen_files)] for k in range(count)]
        labels = np.array([int(file.stem.split("_")[-1]) for file in files])
        found = [infer(feed)["logits"].argmax(1) for feed in joined(self._unseen(count), 8)]
        return float((np.concatenate(found) == labels).mean())


def _crops(files: Sequence[Path], count: int, seed: int) -> Iterator[Feed]:
    rng = np.random.default_rng(seed)
    for k in range(count):
        with Image.open(files[k % len(files)]) as image:
            yield {"input": _normalized(_random_crop(image.convert("RGB"), rng))}


def _random_crop(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A square of 60 to 100 % of the shorter side, mirrored half of the time, at 224 x 224."""
    width, height = image.size
    side = int(min(width, height) * rng.uniform(0.6, 1.0))
    left, top = int(rng.integers(0, width - side + 1)), int(rng.integers(0, height - side + 1))
    crop = image.crop((left, top, left + side, top + side))
    if rng.random() < 0.5:
        crop = crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return crop.resize((224, 224), Image.Resampling.BILINEAR)


def _normalized(image: Image.Image) -> Array:
    pixels = (np.asarray(image, np.float32) / 255 - MEAN) / STD
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])


def open_task(folder: Path, cache: Path) -> MobileNet:
    return MobileNet(folder)
