"""Image classification on ImageNet: ResNet-50 v1.5 and MobileNet-v1, top-1 accuracy.

The dataset folder holds the validation images (in it, or in ``val/``) and ``val_map.txt``: one line per image, file
name and class 0..999, as MLPerf's ``val_map.txt`` does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.score import Score
from benchmarks.workloads.images.preprocessing import ImageInput, ImageSteps, read_image
from benchmarks.workloads.workload import Workload
from engines.engine import Array, Feed, TensorSpec
from graphs.errors import BadInput

CLASSES = 1000
"""Of ImageNet; a model may put one for background before them."""
MAP_FILE = "val_map.txt"
# The reference implementation's steps (mlcommons/inference, vision/classification_and_detection/python/dataset.py).
VGG_STEPS = ImageSteps(central=0.875, filter="area", mean=(123.68, 116.78, 103.94))
MOBILENET_STEPS = ImageSteps(central=0.875, filter="bilinear", mean=(127.5,) * 3, std=(127.5,) * 3)
TORCHVISION_STEPS = ImageSteps(
    central=0.875, filter="bilinear", mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)
)
"""For models trained with torchvision: a user's own variant of a workload takes them (docs/loadgen.md)."""


@dataclass(frozen=True)
class Labelled:
    """An image and its class."""

    path: Path
    label: int


def read_val_map(folder: Path) -> list[Labelled]:
    """The images that ``val_map.txt`` lists. Raises ``BadInput`` naming the line that cannot be used."""
    path = folder / MAP_FILE
    if not path.is_file():
        raise BadInput("no such file", where=str(path), expected=f"ImageNet's validation images and {MAP_FILE}")
    images = folder / "val" if (folder / "val").is_dir() else folder
    return [_parse(line, number, path, images) for number, line in enumerate(path.read_text().splitlines(), 1) if line]


def _parse(line: str, number: int, path: Path, images: Path) -> Labelled:
    name, _, label = line.strip().rpartition(" ")
    if not name or not label.isdecimal() or int(label) >= CLASSES:
        raise BadInput(f"line {number} is {line!r}", where=str(path), expected="FILE CLASS with a class of 0 to 999")
    if not (images / name).is_file():
        raise BadInput("no such image", where=str(images / name), fix=f"line {number} of {path.name} names it")
    return Labelled(images / name, int(label))


class Classification:
    """ImageNet for a model of one image input. Answers are class ids, int32."""

    def __init__(
        self, folder: Path, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], *, steps: ImageSteps
    ) -> None:
        self._input = ImageInput.of(inputs, default=(224, 224))
        self._steps = steps
        self._images = read_val_map(folder)
        self._offset = 1 if any(spec.shape and spec.shape[-1] == CLASSES + 1 for spec in outputs) else 0

    def __len__(self) -> int:
        return len(self._images)

    def feed(self, index: int) -> Feed:
        return self._input.feed(self._steps.array(read_image(self._images[index].path), self._input))

    def answers(self, outputs: dict[str, Array], rows: Sequence[int]) -> Array:
        """An integer output of one value per image is the class (TensorFlow's ArgMax), else the largest score is.

        Models with a background class before the thousand have 1,001 scores.
        """
        for array in outputs.values():
            if array.dtype.kind in "iu" and array.size == len(rows):
                return np.asarray(array.reshape(-1).astype(np.int32) - self._offset)
        scores = next(iter(outputs.values())).reshape(len(rows), -1)
        return np.asarray(scores.argmax(1).astype(np.int32) - (1 if scores.shape[1] == CLASSES + 1 else 0))

    def score(self, answers: Mapping[int, Array]) -> Score:
        right = np.array([int(answers[index]) == self._images[index].label for index in sorted(answers)], np.float64)
        return Score("top-1", float(right.mean()), right, samples=len(right))


RESNET50 = Workload(
    name="resnet50",
    open=partial(Classification, steps=VGG_STEPS),
    metric="top-1",
    data="ImageNet 2012 validation images and val_map.txt",
    reference=0.7646,
    dataset_samples=50_000,
    performance_samples=1024,
    server_latency_ms=15.0,
    mlperf_name="resnet50",
    rounds="v0.5 to today",
)
MOBILENET = Workload(
    name="mobilenet",
    open=partial(Classification, steps=MOBILENET_STEPS),
    metric="top-1",
    data="ImageNet 2012 validation images and val_map.txt",
    reference=0.71676,
    targets=(0.98,),
    dataset_samples=50_000,
    performance_samples=1024,
    server_latency_ms=10.0,
    mlperf_name="mobilenet",
    rounds="v0.5",
)
