"""A residual network on Fashion-MNIST: 256 test images calibrate, the others are scored."""

from __future__ import annotations

import gzip
from copy import copy
from pathlib import Path

import numpy as np

from engines.engine import Array, Feed
from studies.baselines.task import Infer


class Fashion:
    metric = "top-1"
    output = "logits"
    transformer = False

    def __init__(self, folder: Path) -> None:
        pixels = _bytes(folder / "t10k-images-idx3-ubyte.gz", 16).reshape(-1, 1, 28, 28).astype(np.float32)
        images = (pixels / 255 - np.float32(0.2860)) / np.float32(0.3530)
        labels = _bytes(folder / "t10k-labels-idx1-ubyte.gz", 8)
        order = np.random.default_rng(0).permutation(len(images))
        self._calibration = images[order[:256]]
        self._images, self._labels = images[order[256:]], labels[order[256:]]

    def calibration(self, quick: bool) -> list[Feed]:
        return [{"input": image[None]} for image in self._calibration[: 32 if quick else None]]

    def held_back(self, quick: bool) -> list[Feed]:
        return [{"input": image[None]} for image in self._images[: 256 if quick else 2048]]

    def half(self, which: int) -> Fashion:
        part = copy(self)
        part._images, part._labels = self._images[which::2], self._labels[which::2]
        return part

    def score(self, infer: Infer, reference: Infer, quick: bool) -> float:
        images = self._images[: 1024 if quick else None]
        chosen = [infer({"input": images[i : i + 64]})["logits"].argmax(1) for i in range(0, len(images), 64)]
        return float((np.concatenate(chosen) == self._labels[: len(images)]).mean())


def _bytes(path: Path, header: int) -> Array:
    return np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=header)


def open_task(folder: Path, cache: Path) -> Fashion:
    return Fashion(folder)
