"""A small DLRM on MovieLens: rows of the training period calibrate, each user's last ratings are scored."""

from __future__ import annotations

from copy import copy
from pathlib import Path

import numpy as np

from engines.engine import Array, Feed
from studies.baselines.metrics import roc_auc
from studies.baselines.task import Infer


class Dlrm:
    metric = "ROC AUC"
    output = "prob"
    transformer = False

    def __init__(self, folder: Path) -> None:
        self._train = _rows(folder / "calib.npz")
        self._test = _rows(folder / "test.npz")

    def calibration(self, quick: bool) -> list[Feed]:
        """Feeds of 16 rows: nvidia-modelopt leaves products of a single row in float."""
        rows = np.random.default_rng(0).permutation(len(self._train["dense"]))
        return [_feed(self._train, rows[k * 16 : k * 16 + 16]) for k in range(4 if quick else 32)]

    def held_back(self, quick: bool) -> list[Feed]:
        return [_feed(self._test, slice(k, k + 1)) for k in range(512 if quick else 4096)]

    def half(self, which: int) -> Dlrm:
        part = copy(self)
        part._test = {name: rows[which::2] for name, rows in self._test.items()}
        return part

    def score(self, infer: Infer, reference: Infer, quick: bool) -> float:
        count = 2048 if quick else len(self._test["label"])
        scores = [infer(_feed(self._test, slice(k, min(k + 512, count))))["prob"] for k in range(0, count, 512)]
        return roc_auc(self._test["label"][:count] > 0.5, np.concatenate(scores))


def _rows(path: Path) -> dict[str, Array]:
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


def _feed(rows: dict[str, Array], part: slice | Array) -> Feed:
    return {"dense": rows["dense"][part], "sparse": rows["sparse"][part]}


def open_task(folder: Path, cache: Path) -> Dlrm:
    return Dlrm(folder)
