"""ImageNet: the folder is read, images become what the reference feeds, answers become classes, top-1 comes out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.workloads.evaluate import evaluate
from benchmarks.workloads.images.classification import MOBILENET, RESNET50, read_val_map
from engines.engine import TensorSpec
from engines.onnxruntime.engine import OnnxRuntimeEngine
from graphs.errors import BadInput
from tests.benchmarks.workloads.graphs_for_tests import colour_classifier

COLOURS = [(250, 10, 10), (10, 250, 10), (10, 10, 250), (240, 0, 0)]
LABELS = [0, 100, 200, 999]  # the last is wrong on purpose
NCHW = (TensorSpec("image", "float32", ("batch", 3, 224, 224)),)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("imagenet")
    for number, colour in enumerate(COLOURS):
        Image.new("RGB", (300 + 50 * number, 280), colour).save(folder / f"{number}.png")
    (folder / "val_map.txt").write_text("".join(f"{n}.png {label}\n" for n, label in enumerate(LABELS)))
    return folder


@pytest.mark.parametrize("classes", [1000, 1001])
def test_top1_of_a_real_engine(classes: int, folder: Path, tmp_path: Path) -> None:
    with OnnxRuntimeEngine(colour_classifier(tmp_path / "m.onnx", classes)) as engine:
        score = evaluate(engine, RESNET50.open(folder, engine.inputs, engine.outputs), batch=3)
    assert score.value == 0.75
    assert score.per_sample is not None and list(score.per_sample) == [1, 1, 1, 0]


def test_resnet50_subtracts_the_means_and_mobilenet_scales(folder: Path) -> None:
    resnet = RESNET50.open(folder, NCHW, ()).feed(1)["image"]
    assert resnet.shape == (1, 3, 224, 224) and resnet.dtype == np.float32
    np.testing.assert_allclose(resnet[0, :, 0, 0], [10 - 123.68, 250 - 116.78, 10 - 103.94], rtol=1e-5)
    mobilenet = MOBILENET.open(folder, (TensorSpec("x", "float32", ("n", 224, 224, 3)),), ()).feed(1)["x"]
    assert mobilenet.shape == (1, 224, 224, 3)
    np.testing.assert_allclose(mobilenet[0, 0, 0], [10 / 127.5 - 1, 250 / 127.5 - 1, 10 / 127.5 - 1], rtol=1e-5)


def test_the_crop_is_central_and_covers_seven_eighths(tmp_path: Path) -> None:
    pixels = np.zeros((256, 512, 3), np.uint8)
    pixels[16:240, 144:368] = 255  # exactly the 224 x 224 in the middle, which needs no resizing
    Image.fromarray(pixels).save(tmp_path / "a.png")
    (tmp_path / "val_map.txt").write_text("a.png 1\n")
    image = RESNET50.open(tmp_path, NCHW, ()).feed(0)["image"]
    np.testing.assert_allclose(
        image,
        np.broadcast_to(255 - np.array([123.68, 116.78, 103.94])[:, None, None], image.shape[1:])[None],
        rtol=1e-5,
    )


def test_an_integer_output_is_the_class_itself(folder: Path) -> None:
    outputs = (TensorSpec("ArgMax:0", "int64", ("n",)), TensorSpec("softmax", "float32", ("n", 1001)))
    task = RESNET50.open(folder, NCHW, outputs)
    found = task.answers({"ArgMax:0": np.array([8, 1]), "softmax": np.zeros((2, 1001), np.float32)}, [1, 1])
    assert list(found) == [7, 0], "the background class comes off"


def test_unusable_data_and_models_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"val_map\.txt: no such file"):
        read_val_map(tmp_path)
    (tmp_path / "val_map.txt").write_text("a.png cat\n")
    with pytest.raises(BadInput, match=r"line 1 is 'a\.png cat'"):
        read_val_map(tmp_path)
    (tmp_path / "val_map.txt").write_text("a.png 7\n")
    with pytest.raises(BadInput, match=r"a\.png: no such image"):
        read_val_map(tmp_path)
    with pytest.raises(BadInput, match="not a model of colour images"):
        RESNET50.open(folder, (TensorSpec("x", "float32", ("n", 1, 28, 28)),), ())
