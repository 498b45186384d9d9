"""Data and metric of the demo, written as a user would write theirs for ``--data`` and ``--evaluate``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

HERE = Path(__file__).parent
MODEL = HERE / "fashion_resnet.onnx"
MEAN, STD = 0.2860, 0.3530  # of the training pixels, as in training
BATCH = 250
"""Images per inference of the evaluation."""

Infer = Callable[[dict[str, NDArray[np.float32]]], dict[str, NDArray[np.float32]]]


def calibration() -> Iterator[dict[str, NDArray[np.float32]]]:
    """512 training images, one sample each: ``input`` (1, 28, 28) float32."""
    for image in _read("fashion_calibration.npz", "images"):
        yield {"input": normalise(image[None])}


def held_back() -> Iterator[dict[str, NDArray[np.float32]]]:
    """The first 500 test images, one sample each; calibration has never seen them."""
    for image in _read("fashion_test.npz", "images")[:500]:
        yield {"input": normalise(image[None])}


def top1(infer: Infer) -> dict[str, object]:
    """Top-1 accuracy on the 10,000 labelled test images."""
    images, labels = _read("fashion_test.npz", "images"), _read("fashion_test.npz", "labels")
    starts = range(0, len(images), BATCH)
    guesses = [infer({"input": normalise(images[i : i + BATCH, None])})["logits"].argmax(1) for i in starts]
    right = np.concatenate(guesses) == labels
    return {"metric": "top-1", "value": float(right.mean()), "per_sample": right.astype(np.float64)}


def normalise(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """uint8 pixels to the float32 the model was trained on."""
    return ((images.astype(np.float32) / 255 - MEAN) / STD).astype(np.float32)


def _read(file: str, key: str) -> NDArray[np.uint8]:
    with np.load(HERE / file) as archive:
        array: NDArray[np.uint8] = archive[key]
    return array
