"""Systems under test: how LoadGen's queries reach engines and how answers go back.

LoadGen's C++ calls ``issue`` with lists of response ids and sample indices (the "fast SUT" of its Python binding). An
exception that leaves a callback crashes the process, and a sample that is never completed hangs it, so every path
here ends in a completion. Response objects are pooled: making one costs more than a microsecond.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

import mlperf_loadgen as lg
import numpy as np

from benchmarks.loadgen.waiting import LinePerShape, OneLine, Waiting
from benchmarks.samples.execute import Activity, Executor, Failures
from benchmarks.samples.library import SampleLibrary
from engines.engine import Array

POOL = 2048
"""Response objects that are made once and used again: answers complete in groups of at most so many. Chosen."""
Ids: TypeAlias = Sequence[int]
Answers: TypeAlias = Sequence[Array] | Array
"""Contiguous arrays, one per sample, or one contiguous array whose axis 0 counts the samples."""


class Completer:
    """Hands answers to LoadGen through reused response objects; one per thread."""

    def __init__(self, activity: Activity) -> None:
        self._activity = activity
        self._pool = [lg.QuerySampleResponse(0, 0, 0) for _ in range(POOL)]
        self._carriers: list[lg.QuerySampleResponse] = []

    def empty(self, ids: Ids) -> None:
        """Complete without data: performance runs do not read it."""
        for start in range(0, len(ids), POOL):
            part = ids[start : start + POOL]
            for response, sample_id in zip(self._pool, part, strict=False):
                response.id = sample_id
            lg.QuerySamplesComplete(self._pool if len(part) == POOL else self._pool[: len(part)])
            self._activity.completed += len(part)

    def with_data(self, ids: Ids, answers: Answers) -> None:
        """Complete with each sample's bytes, which LoadGen copies before this returns."""
        pointers, sizes = _addresses(answers)
        while len(self._carriers) < len(ids):  # apart from the empty ones, which must never carry a stale address
            self._carriers.append(lg.QuerySampleResponse(0, 0, 0))
        for carrier, sample_id, pointer, size in zip(self._carriers, ids, pointers, sizes, strict=False):
            carrier.id, carrier.data, carrier.size = sample_id, pointer, size
        lg.QuerySamplesComplete(self._carriers[: len(ids)])
        self._activity.completed += len(ids)


def _addresses(answers: Answers) -> tuple[Sequence[int], Sequence[int]]:
    """(addresses, sizes in bytes) of the samples' answers; those of one array are computed, not asked for."""
    if isinstance(answers, np.ndarray):
        base, size = answers.ctypes.data, answers.nbytes // max(len(answers), 1)
        return range(base, base + answers.nbytes, size) if size else [base] * len(answers), [size] * len(answers)
    return [answer.ctypes.data for answer in answers], [answer.nbytes for answer in answers]


Answer: TypeAlias = Callable[[Ids, Ids], None]
"""Takes response ids and sample indices of one batch, runs them and completes them."""


class AnswerLog(Protocol):
    """Turns a batch's outputs into the bytes of each sample's response."""

    def answers(self, indices: Ids, outputs: dict[str, Array], rows: Sequence[int]) -> Answers: ...


def answering(executor: Executor, completer: Completer, log: AnswerLog | None) -> Answer:
    """Run and complete a batch; with ``log`` the responses carry the answers, post-processed where a workload says."""

    def answer(ids: Ids, indices: Ids) -> None:
        outputs = executor.run(indices)
        if log is None or outputs is None:
            completer.empty(ids)
        else:
            completer.with_data(ids, log.answers(indices, outputs, executor.library.rows(indices)))

    return answer


class Sut(Protocol):
    """What LoadGen drives."""

    def issue(self, ids: Ids, indices: Ids) -> None: ...

    def close(self) -> None: ...


class InlineSut:
    """SingleStream and MultiStream: the next query comes after this one, so it runs in LoadGen's own call."""

    def __init__(self, answer: Answer, library: SampleLibrary, batch: int, guard: Guard) -> None:
        self._answer, self._library, self._batch, self._guard = answer, library, batch, guard

    def issue(self, ids: Ids, indices: Ids) -> None:
        if len(ids) == 1:
            self._guard(self._answer, ids, indices)
            return
        for part_ids, part in self._library.batches(ids, indices, self._batch):
            self._guard(self._answer, part_ids, part)

    def close(self) -> None:
        """Nothing runs between calls."""


class OfflineSut:
    """One query with every sample: cut into batches, taken by the workers as they become free."""

    def __init__(self, answers: Sequence[Answer], library: SampleLibrary, batch: int, guard: Guard) -> None:
        self._answers, self._library, self._batch, self._guard = answers, library, batch, guard
        self._threads: list[threading.Thread] = []

    def issue(self, ids: Ids, indices: Ids) -> None:
        batches = self._library.batches(ids, indices, self._batch)
        if len(self._answers) == 1:
            for part_ids, part in batches:
                self._guard(self._answers[0], part_ids, part)
            return
        work: queue.SimpleQueue[tuple[list[int], list[int]]] = queue.SimpleQueue()
        for item in batches:
            work.put(item)
        self._threads = [threading.Thread(target=self._take, args=(work, a), daemon=True) for a in self._answers]
        for thread in self._threads:
            thread.start()

    def _take(self, work: queue.SimpleQueue[tuple[list[int], list[int]]], answer: Answer) -> None:
        while True:
            try:
                ids, indices = work.get_nowait()
            except queue.Empty:
                return
            self._guard(answer, ids, indices)

    def close(self) -> None:
        for thread in self._threads:
            thread.join(5.0)


class ServerSut:
    """Server: queries wait in line; each engine's thread takes what is there when it is free, up to a batch, and waits
    at most ``max_wait`` seconds for more. So engines that fall behind get larger batches, never more at once than they
    can run. ``issue`` must return at once: LoadGen's schedule runs on its thread.
    """

    def __init__(
        self, answers: Sequence[Answer], library: SampleLibrary, batch: int, guard: Guard, max_wait: float = 0.0
    ) -> None:
        self._library, self._batch, self._guard, self._max_wait = library, batch, guard, max_wait
        self._waiting: Waiting | None = None
        self._answers = answers
        self._threads: list[threading.Thread] = []

    def issue(self, ids: Ids, indices: Ids) -> None:
        waiting = self._waiting or self._open()
        for pair in zip(ids, indices, strict=True):
            waiting.put(pair)

    def _open(self) -> Waiting:
        """With the first query LoadGen has loaded the samples, so their shapes are known."""
        self._waiting = OneLine() if self._library.uniform else LinePerShape(self._library.bucket)
        self._threads = [
            threading.Thread(target=self._serve, args=(self._waiting, answer), daemon=True) for answer in self._answers
        ]
        for thread in self._threads:
            thread.start()
        return self._waiting

    def _serve(self, waiting: Waiting, answer: Answer) -> None:
        while (batch := waiting.take(self._batch, self._max_wait)) is not None:
            self._guard(answer, [pair[0] for pair in batch], [pair[1] for pair in batch])

    def close(self) -> None:
        if self._waiting is not None:
            self._waiting.close(len(self._threads))
        for thread in self._threads:
            thread.join(5.0)


class Guard:
    """Keeps exceptions of our own code inside: the samples are completed empty and counted as failed."""

    def __init__(self, failures: Failures, activity: Activity) -> None:
        self._failures, self._completer = failures, Completer(activity)
        self._lock = threading.Lock()

    def __call__(self, answer: Answer, ids: Ids, indices: Ids) -> None:
        try:
            answer(ids, indices)
        except BaseException as error:  # a callback that raises segfaults LoadGen; the cause goes into the verdict
            self._failures.add("samples lost in the harness", len(ids), f"{type(error).__name__}: {error}"[:500])
            with self._lock:
                self._completer.empty(ids)
