"""Accuracy runs: each sample's outputs as the bytes of its response, and back from LoadGen's accuracy log."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np

from engines.engine import Array, TensorSpec
from graphs.errors import BadInput
from graphs.files import read_json, write_json

SHAPES_FILE = "accuracy_shapes.json"
LOG_FILE = "mlperf_log_accuracy.json"
ANSWER = "answer"

PostProcess: TypeAlias = Callable[[dict[str, Array], Sequence[int]], Sequence[Array] | Array]


@dataclass(frozen=True)
class AnswerShapes:
    """How a response's bytes divide into outputs: names and dtypes in order, shapes per sample index (as text), with
    ``common`` for the samples that are not named.
    """

    names: list[str]
    dtypes: list[str]
    common: list[list[int]] = field(default_factory=list)
    other: dict[str, list[list[int]]] = field(default_factory=dict)


class AnswerRecorder:
    """Makes response bytes and remembers the shapes that LoadGen's log does not hold.

    A response is the sample's outputs one after the other, or what ``post_process`` (a workload's: outputs and rows
    per sample to one answer per sample) makes of them.
    """

    def __init__(self, specs: Sequence[TensorSpec], splits: bool, post_process: PostProcess | None = None) -> None:
        self._names = [spec.name for spec in specs] if post_process is None else [ANSWER]
        self._splits, self._post_process = splits, post_process
        self._dtypes: list[str] = []
        self._common: list[list[int]] = []
        self._other: dict[str, list[list[int]]] = {}
        self._lock = threading.Lock()

    def answers(
        self, indices: Sequence[int], outputs: dict[str, Array], rows: Sequence[int]
    ) -> Sequence[Array] | Array:
        """One contiguous array per sample of a batch whose samples have ``rows`` rows each."""
        if self._post_process is not None:
            return self._recorded(indices, self._post_process(outputs, rows))
        ends = np.cumsum(rows)
        return [
            self._answer(index, slice(end - count, end), outputs)
            for index, end, count in zip(indices, ends, rows, strict=True)
        ]

    def _answer(self, index: int, rows: slice, outputs: dict[str, Array]) -> Array:
        parts = [outputs[name][rows] if self._splits else outputs[name] for name in self._names]
        self._remember(index, parts)
        return np.concatenate([np.ascontiguousarray(part).reshape(-1).view(np.uint8) for part in parts])

    def _recorded(self, indices: Sequence[int], answers: Sequence[Array] | Array) -> Sequence[Array] | Array:
        if isinstance(answers, np.ndarray):
            answers = np.ascontiguousarray(answers)
            if self._dtypes and list(answers.shape[1:]) == self._common[0]:
                return answers
        else:
            answers = [np.ascontiguousarray(answer) for answer in answers]
        for index, answer in zip(indices, answers, strict=True):
            self._remember(index, [np.asarray(answer)])
        return answers

    def _remember(self, index: int, parts: Sequence[Array]) -> None:
        shapes = [list(part.shape) for part in parts]
        with self._lock:
            if not self._dtypes:
                self._dtypes, self._common = [part.dtype.name for part in parts], shapes
            elif shapes != self._common:
                self._other[str(index)] = shapes

    def save(self, log_dir: Path) -> None:
        write_json(log_dir / SHAPES_FILE, AnswerShapes(self._names, self._dtypes, self._common, self._other))


def read_answers(log_dir: Path) -> Iterator[tuple[int, dict[str, Array]]]:
    """(sample index, outputs by name) of every response in an accuracy run's log, in the order of completion.

    Raises ``BadInput`` when there is no such log or a response does not have the bytes its shapes ask for.
    """
    shapes = read_json(log_dir / SHAPES_FILE, AnswerShapes)
    path = log_dir / LOG_FILE
    if not path.is_file():
        raise BadInput("no accuracy log", where=str(path), fix="run LoadGen in accuracy mode")
    with path.open() as file:
        for line in file:
            text = line.strip().rstrip(",")
            if text in ("[", "]", ""):
                continue
            entry = json.loads(text.removeprefix("["))
            index = int(entry["qsl_idx"])
            yield index, _decode(bytes.fromhex(entry["data"]), shapes, index, path)


def _decode(data: bytes, shapes: AnswerShapes, index: int, path: Path) -> dict[str, Array]:
    outputs: dict[str, Array] = {}
    start = 0
    for name, dtype, shape in zip(
        shapes.names, shapes.dtypes, shapes.other.get(str(index), shapes.common), strict=True
    ):
        size = np.dtype(dtype).itemsize * int(np.prod(shape))
        outputs[name] = np.frombuffer(data[start : start + size], dtype).reshape(shape)
        start += size
    if start != len(data):
        raise BadInput(f"sample {index} has {len(data)} bytes, expected {start}", where=str(path))
    return outputs
