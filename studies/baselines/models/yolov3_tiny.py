"""YOLOv3-tiny on COCO classes: ten images with hand-drawn boxes.

Crops of one half of each image calibrate, crops of the other half are held back; the metric is mAP at IoU 0.5 on the
whole images.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from copy import copy
from pathlib import Path

import numpy as np
from PIL import Image

from engines.engine import Array, Feed
from studies.baselines.metrics import Detection, Truth, mean_average_precision, suppress
from studies.baselines.task import Infer

SIZE = 416  # pixels, of yolov3-tiny.cfg
LOWEST_SCORE, OVERLAP = 0.005, 0.45


class Yolo:
    metric = "mAP at IoU 0.5"
    output = "pred"
    transformer = False

    def __init__(self, folder: Path) -> None:
        self._names = (folder / "coco.names").read_text().splitlines()
        self._labels: dict[str, list[tuple[str, list[float]]]] = json.loads((folder / "labels.json").read_text())
        images = (folder / "images" / name for name in sorted(self._labels))
        self._files = self._scored = [file for file in images if file.exists()]

    def calibration(self, quick: bool) -> list[Feed]:
        return list(_half_crops(self._files, 0, 8 if quick else 64))

    def held_back(self, quick: bool) -> list[Feed]:
        return list(_half_crops(self._files, 1, 8 if quick else 32))

    def half(self, which: int) -> Yolo:
        part = copy(self)
        part._scored = self._files[which::2]
        return part

    def score(self, infer: Infer, reference: Infer, quick: bool) -> float:
        found: list[Detection] = []
        truths: list[Truth] = []
        for k, file in enumerate(self._scored):
            with Image.open(file) as image:
                feed, scale, offset = _letterbox(image.convert("RGB"))
            found += _detections(k, infer(feed)["pred"][0])
            for name, box in self._labels[file.name]:
                truths.append(Truth(k, self._names.index(name), np.array(box) * scale + np.tile(offset, 2)))
        return mean_average_precision(found, truths)


def _detections(image: int, pred: Array) -> list[Detection]:
    """From [2535, 85]: centre x, y, width, height in pixels, objectness, 80 class probabilities."""
    scores = pred[:, 4:5] * pred[:, 5:]
    corners = np.concatenate([pred[:, :2] - pred[:, 2:4] / 2, pred[:, :2] + pred[:, 2:4] / 2], 1)
    found = []
    for label in np.flatnonzero((scores > LOWEST_SCORE).any(0)):
        rows = np.flatnonzero(scores[:, label] > LOWEST_SCORE)
        for k in suppress(corners[rows], scores[rows, label], OVERLAP):
            found.append(Detection(image, int(label), float(scores[rows[k], label]), corners[rows[k]]))
    return found


def _half_crops(files: Sequence[Path], half: int, count: int) -> Iterator[Feed]:
    rng = np.random.default_rng(half)
    for k in range(count):
        with Image.open(files[k % len(files)]) as image:
            yield _letterbox(_random_crop(_half(image.convert("RGB"), half), rng))[0]


def _half(image: Image.Image, half: int) -> Image.Image:
    """The left or right half of a wide image, the upper or lower one of a tall image."""
    width, height = image.size
    if width >= height:
        return image.crop((half * (width // 2), 0, width if half else width // 2, height))
    return image.crop((0, half * (height // 2), width, height if half else height // 2))


def _random_crop(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    width, height = (int(side * rng.uniform(0.6, 1.0)) for side in image.size)
    left, top = int(rng.integers(0, image.width - width + 1)), int(rng.integers(0, image.height - height + 1))
    crop = image.crop((left, top, left + width, top + height))
    return crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else crop


def _letterbox(image: Image.Image) -> tuple[Feed, float, Array]:
    """Scaled to fit 416 x 416 on grey; with the scale and the offset (x, y) in pixels of the scaled image."""
    scale = SIZE / max(image.size)
    width, height = round(image.width * scale), round(image.height * scale)
    left, top = (SIZE - width) // 2, (SIZE - height) // 2
    canvas = Image.new("RGB", (SIZE, SIZE), (128, 128, 128))
    canvas.paste(image.resize((width, height), Image.Resampling.BILINEAR), (left, top))
    pixels = np.asarray(canvas, np.float32).transpose(2, 0, 1)[None] / 255
    return {"images": np.ascontiguousarray(pixels)}, scale, np.array([left, top], np.float64)


def open_task(folder: Path, cache: Path) -> Yolo:
    return Yolo(folder)
