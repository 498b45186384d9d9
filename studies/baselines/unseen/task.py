"""An unseen model as the comparison sees it: files that ``fetch`` left, agreement with FP32 as the metric."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from engines.engine import Feed
from studies.baselines.task import Infer
from studies.baselines.unseen.recipes import RECIPES


class Unseen:
    """``folder`` holds ``calibration/*.npz`` and ``held_back/*.npz``, one sample each."""

    metric = "agreement with FP32 (argmax)"

    def __init__(self, folder: Path) -> None:
        recipe = RECIPES[folder.name]
        self.output, self.transformer, self._folder = recipe.output, recipe.transformer, folder

    def calibration(self, quick: bool) -> list[Feed]:
        return _feeds(self._folder / "calibration", 8 if quick else None)

    def held_back(self, quick: bool) -> list[Feed]:
        return _feeds(self._folder / "held_back", 8 if quick else None)

    def score(self, infer: Infer, reference: Infer, quick: bool) -> float:
        same, count = 0, 0
        for feed in self.held_back(quick):
            found, wanted = (run(feed)[self.output] for run in (infer, reference))
            axis = -1 if wanted.ndim and wanted.shape[-1] > 1 else None
            agree = np.argmax(found, axis) == np.argmax(wanted, axis)
            same, count = same + int(np.sum(agree)), count + int(np.size(agree))
        return same / count


def _feeds(folder: Path, count: int | None) -> list[Feed]:
    return [_feed(file) for file in sorted(folder.glob("*.npz"))[:count]]


def _feed(file: Path) -> Feed:
    with np.load(file) as found:
        return {name: found[name] for name in found.files}


def open_task(folder: Path, cache: Path) -> Unseen:
    return Unseen(folder)
