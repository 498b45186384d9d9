"""Models with labels: what calibrates them, and what they score."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from benchmarks.score import Infer
from engines.engine import Feed
from engines.onnxruntime.engine import OnnxRuntimeEngine
from optimizer.demo import fashion
from studies.baselines.task import Task, load_task


@dataclass(frozen=True)
class Fashion:
    """A residual network on Fashion-MNIST: 512 training images calibrate, 10,000 test images are scored."""

    model: Path

    def calibration(self) -> list[Feed]:
        return [{name: array[None] for name, array in feed.items()} for feed in fashion.calibration()]

    def scores(self, infer: Infer) -> dict[str, float]:
        found = fashion.top1(infer)["value"]
        assert isinstance(found, float)
        return {"top-1 (10,000)": found}


@dataclass(frozen=True)
class MiniLm:
    """A sentence encoder: 128 texts of 4 to 200 tokens calibrate; scored are the probe of 18 classes on 720 lines and
    Pearson's correlation with human judgements of 1,225 pairs of documents.
    """

    folder: Path
    cache: Path

    @property
    def model(self) -> Path:
        return self.folder / "model.onnx"

    @cached_property
    def _task(self) -> Task:
        return load_task("minilm", self.folder.parent, self.cache)

    def calibration(self) -> list[Feed]:
        return self._task.calibration(False)

    def scores(self, infer: Infer) -> dict[str, float]:
        with OnnxRuntimeEngine(self.model, lean=True) as reference:
            probe = self._task.score(infer, reference.infer, False)
        return {"probe (720)": probe, "Pearson (1,225)": self._pearson(infer)}

    def _pearson(self, infer: Infer) -> float:
        documents = self._task.held_back(False)[:50]
        embedded = np.concatenate([infer(feed)["sentence_embedding"] for feed in documents])
        judged = np.loadtxt(self.folder / "similarities0-1.txt")
        pairs = np.triu_indices(len(documents), 1)
        return float(np.corrcoef((embedded @ embedded.T)[pairs], judged[pairs])[0, 1])


Case = Fashion | MiniLm


def cases(zoo: Path | None, cache: Path) -> Mapping[str, Case]:
    """The demo's model, and of a ``zoo`` those that are there; ``cache`` keeps what is dear to make again."""
    found: dict[str, Case] = {"demo": Fashion(fashion.MODEL)}
    if zoo is not None and (zoo / "fashion_resnet14").is_dir():
        found["fashion_resnet14"] = Fashion(zoo / "fashion_resnet14" / "model.onnx")
    if zoo is not None and (zoo / "minilm").is_dir():
        found["minilm"] = MiniLm(zoo / "minilm", cache)
    return found


def recovered(dense: float, plain: float, found: float) -> float:
    """The share of what pruning by magnitude loses that is won back."""
    return (found - plain) / (dense - plain) if dense > plain else float("nan")
