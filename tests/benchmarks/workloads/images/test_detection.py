"""COCO: boxes of three kinds of heads become pixels and category ids, and mAP tells good ones from bad."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.workloads.evaluate import evaluate
from benchmarks.workloads.images.detection import RETINANET, SSD_MOBILENET, SSD_RESNET34
from engines.engine import Array, TensorSpec
from engines.onnxruntime.engine import OnnxRuntimeEngine
from graphs.errors import BadInput
from tests.benchmarks.workloads.graphs_for_tests import save_graph

pytest.importorskip("pycocotools")
BOX = (0.1, 0.2, 0.5, 0.6)  # x1, y1, x2, y2 as fractions
SIZES = [(100, 200), (300, 150)]  # width, height
OUTPUTS = tuple(TensorSpec(name, "float32", ("n", "k")) for name in ("boxes", "scores", "labels"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two images with one object each, of category 18 (the second of the list); one image is missing."""
    folder = tmp_path_factory.mktemp("coco")
    (folder / "val2017").mkdir()
    (folder / "annotations").mkdir()
    images, annotations = [], []
    for number, (width, height) in enumerate(SIZES):
        Image.new("RGB", (width, height), (90, 90, 90)).save(folder / "val2017" / f"{number}.jpg")
        images.append({"id": 40 + number, "file_name": f"{number}.jpg", "width": width, "height": height})
        x1, y1, x2, y2 = np.array(BOX) * [width, height, width, height]
        annotations.append({"image_id": 40 + number, "category_id": 18, "bbox": [x1, y1, x2 - x1, y2 - y1]})
    images.append({"id": 99, "file_name": "missing.jpg", "width": 5, "height": 5})
    content = {"images": images, "annotations": annotations, "categories": [{"id": 7}, {"id": 18}]}
    (folder / "annotations" / "instances_val2017.json").write_text(json.dumps(content))
    return folder


def found(box: Array, label: float, score: float = 0.9) -> dict[str, Array]:
    return {"boxes": np.array([[box]], np.float32), "scores": np.full((1, 1), score), "labels": np.full((1, 1), label)}


def test_heads_differ_and_all_find_the_object(folder: Path) -> None:
    x1, y1, x2, y2 = BOX
    heads = [
        (SSD_MOBILENET, [y1, x1, y2, x2], 18.0, 300),
        (SSD_RESNET34, [x1, y1, x2, y2], 2.0, 1200),  # contiguous labels: category 18 is the second
        (RETINANET, [800 * x1, 800 * y1, 800 * x2, 800 * y2], 18.0, 800),
    ]
    for workload, box, label, size in heads:
        task = workload.open(folder, (TensorSpec("image", "float32", ("n", 3, "h", "w")),), OUTPUTS)
        assert len(task) == 2, "the missing image is left out"
        assert task.feed(0)["image"].shape == (1, 3, size, size)
        answers = {index: task.answers(found(np.array(box), label), [1])[0] for index in range(2)}
        assert task.score(answers).value == pytest.approx(1.0), workload.name


def test_map_falls_with_wrong_labels_poor_boxes_and_silence(folder: Path) -> None:
    task = SSD_RESNET34.open(folder, (TensorSpec("image", "float32", ("n", 3, 64, 64)),), OUTPUTS)
    good = task.answers(found(np.array(BOX), 2.0), [1])[0]
    loose = task.answers(found(np.array([0.1, 0.2, 0.5, 0.72]), 2.0), [1])[0]
    wrong = task.answers(found(np.array(BOX), 1.0), [1])[0]
    assert 0 < task.score({0: good, 1: loose}).value < 1
    assert task.score({0: good, 1: loose}).details["mAP@0.5"] == pytest.approx(1.0)
    assert task.score({0: wrong, 1: wrong}).value == 0
    assert task.score({0: good[:0], 1: good[:0]}).value == 0
    assert len(task.answers(found(np.array(BOX), 2.0, score=0.01), [1])[0]) == 0, "below the threshold"


def test_a_real_engine_with_a_count_and_uint8_pixels(folder: Path, tmp_path: Path) -> None:
    x1, y1, x2, y2 = BOX
    model = save_graph(
        """
        ssd (uint8[1,300,300,3] image) => (float[1,2,4] detection_boxes, float[1,2] detection_scores,
                                           float[1,2] detection_classes, float[1] num_detections) {
            pixels = Cast <to = 1> (image)
            mean = ReduceMean <keepdims = 0> (pixels)
            nothing = Mul(mean, zero)
            detection_boxes = Add(boxes, nothing)
            detection_scores = Add(scores, nothing)
            detection_classes = Add(classes, nothing)
            num_detections = Add(count, nothing)
        }""",
        tmp_path / "ssd.onnx",
        {
            "zero": np.array(0, np.float32),
            "boxes": np.array([[[y1, x1, y2, x2], [0, 0, 1, 1]]], np.float32),
            "scores": np.array([[0.8, 0.7]], np.float32),
            "classes": np.array([[18, 18]], np.float32),
            "count": np.array([1], np.float32),
        },
    )
    with OnnxRuntimeEngine(model) as engine:
        score = evaluate(engine, SSD_MOBILENET.open(folder, engine.inputs, engine.outputs))
    assert score.value == pytest.approx(1.0), "the second box is beyond the count"


def test_unusable_annotations_and_models_are_named(folder: Path, tmp_path: Path) -> None:
    inputs = (TensorSpec("image", "float32", ("n", 3, 64, 64)),)
    with pytest.raises(BadInput, match="no annotation file"):
        SSD_MOBILENET.open(tmp_path, inputs, OUTPUTS)
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "a.json").write_text('{"images": []}')
    with pytest.raises(BadInput, match="has no list of annotations, categories"):
        SSD_MOBILENET.open(tmp_path, inputs, OUTPUTS)
    with pytest.raises(BadInput, match="expected: outputs named like boxes, scores and labels"):
        SSD_MOBILENET.open(folder, inputs, (TensorSpec("y", "float32", ("n", 4)),))
