"""What a model brings to the comparison: inputs to calibrate with, inputs held back from that, and its task metric."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np

from engines.engine import Array, Feed
from studies.baselines.names import UNSEEN

Infer: TypeAlias = Callable[[Feed], dict[str, Array]]


class Task(Protocol):
    """One model. ``held_back`` gives one sample a feed; it and ``score`` see no sample that ``calibration`` gave.

    ``output`` is the output that the metric reads; ``transformer`` tells tools that ask for the kind of model.
    """

    metric: str
    output: str
    transformer: bool

    def calibration(self, quick: bool) -> list[Feed]: ...

    def held_back(self, quick: bool) -> list[Feed]: ...

    def score(self, infer: Infer, reference: Infer, quick: bool) -> float:
        """The task metric of ``infer`` (higher is better); ``reference`` is the FP32 model."""
        ...


@runtime_checkable
class Plentiful(Protocol):
    """A task that has more to calibrate on than the comparison uses."""

    def plenty(self) -> list[Feed]:
        """512 samples; the first are those of ``calibration``."""
        ...


@runtime_checkable
class Halved(Protocol):
    """A task whose labelled data falls into two parts that share no recording, image or row."""

    def half(self, which: int) -> Task:
        """The task with every other label: those at even places (0) or at odd ones (1). Both calibrate alike."""
        ...


def load_task(name: str, zoo: Path, cache: Path) -> Task:
    """The task of a model whose files are in ``zoo/name``; ``cache`` is a folder for what is dear to make again."""
    where = "unseen.task" if name in UNSEEN else f"models.{name}"
    module = importlib.import_module(f"studies.baselines.{where}")
    task: Task = module.open_task(zoo / name, cache)
    return task


def joined(feeds: Sequence[Feed], size: int) -> Iterator[Feed]:
    """Consecutive feeds of equal shapes joined along axis 0, up to ``size`` at a time."""
    group: list[Feed] = []
    for feed in feeds:
        if group and (len(group) == size or any(group[0][name].shape != feed[name].shape for name in feed)):
            yield _join(group)
            group = []
        group.append(feed)
    if group:
        yield _join(group)


def _join(group: Sequence[Feed]) -> Feed:
    return {name: np.concatenate([feed[name] for feed in group]) for name in group[0]}
