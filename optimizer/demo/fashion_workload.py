"""Fashion-MNIST as a workload, written as a user would write theirs: one class, one definition.

``optimize bench BUNDLE --workload fashion_workload.py --dataset DIR``, where DIR holds ``fashion_test.npz``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.score import Score
from benchmarks.workloads.workload import Workload
from engines.engine import Array, Feed, TensorSpec
from optimizer.demo.fashion import normalise


class Fashion:
    """10,000 labelled images of 28 x 28 pixels. Answers are class ids, int32."""

    def __init__(self, folder: Path, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> None:
        with np.load(folder / "fashion_test.npz") as archive:
            self._images, self._labels = archive["images"], archive["labels"]
        self._input = inputs[0].name

    def __len__(self) -> int:
        return len(self._labels)

    def feed(self, index: int) -> Feed:
        return {self._input: normalise(self._images[index][None, None])}

    def answers(self, outputs: dict[str, Array], rows: Sequence[int]) -> Array:
        return np.asarray(outputs["logits"].argmax(1), np.int32)

    def score(self, answers: Mapping[int, Array]) -> Score:
        right = np.array([int(answers[index]) == self._labels[index] for index in sorted(answers)], np.float64)
        return Score("top-1", float(right.mean()), right, samples=len(right))


WORKLOAD = Workload(
    name="fashion",
    open=Fashion,
    metric="top-1",
    data="fashion_test.npz",
    targets=(0.99, 0.999),
    dataset_samples=10_000,
    performance_samples=1024,
    server_latency_ms=15.0,
)
