"""Object detection: SSD-MobileNet and SSD-ResNet34 on COCO, RetinaNet on OpenImages; mean average precision.

The models are MLPerf's: non-maximum suppression is part of the graph and they return boxes, scores and labels.
Answers are float32 [k, 6]: x, y, width, height in pixels of the original image, score, category id.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.score import Score
from benchmarks.workloads.images.coco import CocoData
from benchmarks.workloads.images.preprocessing import ImageInput, ImageSteps, read_image
from benchmarks.workloads.workload import Workload, split_rows
from engines.engine import Array, Feed, TensorSpec
from engines.errors import EngineError
from graphs.errors import BadInput

IMAGENET_STEPS = ImageSteps(mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))
UNIT_STEPS = ImageSteps(std=(255.0, 255.0, 255.0))
SSD_STEPS = ImageSteps(mean=(127.5,) * 3, std=(127.5,) * 3)


@dataclass(frozen=True)
class Head:
    """How a model says what it found.

    ``order``: where x1, y1, x2, y2 lie in a box; ``pixels``: boxes are in pixels of the model's input, not fractions;
    ``contiguous``: label k is the k-th category (from 1), not a category id; ``threshold`` drops weaker detections.
    """

    order: tuple[int, int, int, int] = (0, 1, 2, 3)
    pixels: bool = False
    contiguous: bool = False
    threshold: float = 0.0


class Detection:
    """Images in COCO's format for a detector with one image input."""

    def __init__(
        self,
        folder: Path,
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
        *,
        steps: ImageSteps,
        size: tuple[int, int],
        head: Head,
    ) -> None:
        self._input, self._steps, self._head = ImageInput.of(inputs, size), steps, head
        self._data = CocoData(folder)
        self._names = _output_names([spec.name for spec in outputs])

    def __len__(self) -> int:
        return len(self._data.images)

    def feed(self, index: int) -> Feed:
        return self._input.feed(self._steps.array(read_image(self._data.images[index].path), self._input))

    def answers(self, outputs: dict[str, Array], rows: Sequence[int]) -> list[Array]:
        """Boxes as fractions of the image [k, 6]: x1, y1, x2, y2, score, label; scaled to pixels when scored."""
        return [self._found(part) for part in split_rows(outputs, rows)]

    def _found(self, outputs: Mapping[str, Array]) -> Array:
        boxes_name, scores_name, labels_name, count_name = self._names
        boxes = outputs[boxes_name].reshape(-1, 4)[:, self._head.order].astype(np.float32)
        scores = outputs[scores_name].reshape(-1).astype(np.float32)
        labels = outputs[labels_name].reshape(-1).astype(np.float32)
        if not len(boxes) == len(scores) == len(labels):
            raise EngineError(f"{len(boxes)} boxes, {len(scores)} scores, {len(labels)} labels", where="detector")
        if self._head.pixels:
            height, width = self._input.size
            boxes /= np.array([width, height, width, height], np.float32)
        kept = scores > self._head.threshold
        if count_name:
            kept &= np.arange(len(scores)) < int(outputs[count_name].reshape(-1)[0])
        return np.column_stack([boxes, scores, labels])[kept]

    def score(self, answers: Mapping[int, Array]) -> Score:
        found = {self._data.images[index].id: self._in_pixels(index, answers[index]) for index in answers}
        figures = self._data.mean_average_precision(found)
        return Score("mAP", figures.pop("mAP"), samples=len(answers), details=figures)

    def _in_pixels(self, index: int, answer: Array) -> Array:
        image, answer = self._data.images[index], answer.reshape(-1, 6)
        corners = answer[:, :4] * np.array([image.width, image.height] * 2, np.float32)
        labels = answer[:, 5]
        if self._head.contiguous:
            known = np.array([-1, *self._data.categories])
            labels = known[np.where((labels >= 1) & (labels < len(known)), labels, 0).astype(int)]
        return np.column_stack([corners[:, :2], corners[:, 2:] - corners[:, :2], answer[:, 4], labels])


def _output_names(names: Sequence[str]) -> tuple[str, str, str, str]:
    """(boxes, scores, labels, count or "") by what the names contain, as the reference models' do."""
    found = []
    for words in (("box",), ("score",), ("label", "class"), ("num",)):
        found.append(next((name for name in names if any(word in name.lower() for word in words)), ""))
    if not all(found[:3]):
        raise BadInput(
            f"has outputs {', '.join(names)}",
            where="detector",
            expected="outputs named like boxes, scores and labels (or classes), after non-maximum suppression",
        )
    return found[0], found[1], found[2], found[3]


COCO_DATA = "COCO 2017 validation: annotations/instances_val2017.json and val2017/"
SSD_MOBILENET = Workload(
    name="ssd-mobilenet",
    open=partial(Detection, steps=SSD_STEPS, size=(300, 300), head=Head(order=(1, 0, 3, 2))),
    metric="mAP",
    data=COCO_DATA,
    reference=0.22,
    dataset_samples=5000,
    performance_samples=256,
    server_latency_ms=10.0,
    mlperf_name="ssd-mobilenet",
    rounds="v0.5 to v1.1",
    notes=("uint8 inputs take the pixels as they are; float inputs take (pixel - 127.5) / 127.5",),
)
SSD_RESNET34 = Workload(
    name="ssd-resnet34",
    open=partial(Detection, steps=IMAGENET_STEPS, size=(1200, 1200), head=Head(contiguous=True, threshold=0.05)),
    metric="mAP",
    data=COCO_DATA,
    reference=0.20,
    dataset_samples=5000,
    performance_samples=64,
    server_latency_ms=100.0,
    mlperf_name="ssd-resnet34",
    rounds="v0.5 to v2.0",
    notes=("detections scored below 0.05 are dropped, as the reference's TensorFlow form does",),
)
RETINANET = Workload(
    name="retinanet",
    open=partial(Detection, steps=UNIT_STEPS, size=(800, 800), head=Head(pixels=True, threshold=0.05)),
    metric="mAP",
    data="OpenImages (MLPerf's subset): annotations/openimages-mlperf.json and validation/data/",
    reference=0.3757,
    dataset_samples=24_781,
    performance_samples=64,
    server_latency_ms=100.0,
    mlperf_name="retinanet",
    rounds="v2.1 to today",
)
