"""Dynamic batching: requests that wait for an engine are joined on the axis that counts samples, and only on it.

Nobody waits for company while an engine is idle but a few turns of the event loop: what came in the meantime is the
next batch, so batches grow with the load by themselves. ``delay`` waits longer for fuller ones.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from time import perf_counter_ns

from engines.engine import Array, Engine, Feed
from engines.errors import EngineError
from engines.feeds.batching import join, may_join
from graphs.errors import EnginewrightError

_QUIET_TURNS = 6
"""Turns of the event loop (each some 10 µs) without a new request after which those that wait are run, where several
come at once. A call of grpc.aio takes several turns to arrive: with the demo model and 16 clients its batches grew from
1.2 requests to 11, and the processor time of a request fell by a third; HTTP's were as large before. Measured."""


@dataclass(frozen=True)
class Joining:
    """``inputs`` and ``outputs`` are those whose axis 0 counts samples; none, where requests may not be joined.
    ``rows`` is the most that go in one batch, ``delay`` the seconds that the first request of a batch may wait.
    """

    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    rows: int = 1
    delay: float = 0.0

    def rows_of(self, feed: Feed) -> int:
        """How many samples a feed holds; 0 where it may not be joined with others."""
        counts = {len(feed[name]) for name in self.inputs}
        return counts.pop() if len(counts) == 1 else 0


@dataclass(frozen=True)
class Ran:
    """One run of an engine: requests and rows in it, and how long each waited and it computed, in nanoseconds."""

    requests: int
    rows: int
    waited_ns: tuple[int, ...]
    computed_ns: int
    failed: bool


@dataclass(eq=False)
class _Waiting:
    feed: Feed
    rows: int
    answer: asyncio.Future[dict[str, Array]]
    since: int


class Batcher:
    """Gives ``engines``, each in a thread of ``pool``, the requests in the order they came.

    ``ran`` hears of every run. Used from the event loop's thread alone.
    """

    def __init__(self, engines: Sequence[Engine], pool: Executor, joining: Joining, ran: Callable[[Ran], None]) -> None:
        self._idle, self._pool, self.joining, self._ran = list(engines), pool, joining, ran
        self._engines = len(engines)
        self._queue: deque[_Waiting] = deque()
        self._computed: dict[Engine, list[_Waiting]] = {}
        self._loop = asyncio.get_running_loop()
        self._last = 1
        self._planned: asyncio.Handle | None = None
        self._emptied: list[asyncio.Future[None]] = []

    async def infer(self, feed: Feed) -> dict[str, Array]:
        """The outputs of one request. Cancelled while it waits, it is not run. Raises ``EngineError``."""
        waiting = _Waiting(feed, self.joining.rows_of(feed), self._loop.create_future(), perf_counter_ns())
        self._queue.append(waiting)
        self._plan()
        return await waiting.answer

    async def empty(self) -> None:
        """Wait until every request is answered."""
        while self._queue or len(self._idle) < self._engines:
            emptied = self._loop.create_future()
            self._emptied.append(emptied)
            await emptied

    def abandon(self, why: Exception) -> list[Engine]:
        """Have every request raise ``why`` that is not answered yet; the engines that compute for some still."""
        for waiting in [*self._queue, *(each for group in self._computed.values() for each in group)]:
            if not waiting.answer.done():
                waiting.answer.set_exception(why)
        return list(self._computed)

    def _plan(self) -> None:
        """Start what can be, once nothing more comes; with a ``delay``, once a batch is full or the first has waited
        that long.
        """
        if not self._idle or not self._queue:
            return
        patience = self._patience()
        if self._planned is not None:
            if patience or not isinstance(self._planned, asyncio.TimerHandle):
                return
            self._planned.cancel()
        if patience:
            self._planned = self._loop.call_later(patience, self._start)
        else:
            joins = bool(self.joining.inputs) and (len(self._queue) > 1 or self._last > 1)
            self._look(len(self._queue), _QUIET_TURNS if joins else 1)

    def _look(self, seen: int, turns: int) -> None:
        """Start once ``turns`` turns of the event loop bring no request beyond those ``seen``, or a batch is full."""
        waiting = len(self._queue)
        if waiting > seen and self.joining.inputs:
            turns = _QUIET_TURNS
        if turns and sum(each.rows for each in self._queue) < max(self.joining.rows, 2):
            self._planned = self._loop.call_soon(self._look, waiting, turns - 1)
        else:
            self._start()

    def _patience(self) -> float:
        """Seconds for which the requests in the queue may still wait for company."""
        joining = self.joining
        if not joining.delay or sum(waiting.rows for waiting in self._queue) >= joining.rows:
            return 0.0
        return max(joining.delay - (perf_counter_ns() - self._queue[0].since) * 1e-9, 0.0)

    def _start(self) -> None:
        if self._planned is not None:
            self._planned.cancel()
            self._planned = None
        while self._idle and (group := self._take()):
            engine = self._idle.pop()
            self._computed[engine] = group
            run = self._loop.run_in_executor(self._pool, _run, engine, [w.feed for w in group], self.joining)
            run.add_done_callback(partial(self._finish, engine, group))

    def _take(self) -> list[_Waiting]:
        """The next requests that go together: the first, and those right behind it that fit."""
        group: list[_Waiting] = []
        rows = 0
        while self._queue:
            waiting = self._queue[0]
            if waiting.answer.done():  # its client has gone
                self._queue.popleft()
                continue
            if group and not self._fits(group[0], waiting, rows):
                break
            group.append(self._queue.popleft())
            rows += waiting.rows
        return group

    def _fits(self, first: _Waiting, other: _Waiting, rows: int) -> bool:
        joining = self.joining
        return (
            bool(first.rows and other.rows)
            and rows + other.rows <= joining.rows
            and may_join(first.feed, other.feed, joining.inputs)
        )

    def _finish(self, engine: Engine, group: list[_Waiting], done: asyncio.Future[_Runs]) -> None:
        self._idle.append(engine)
        del self._computed[engine]
        started, ended, answers = done.result()
        for waiting, answer in zip(group, answers, strict=True):
            if waiting.answer.done():
                continue
            if isinstance(answer, BaseException):
                waiting.answer.set_exception(answer)
            else:
                waiting.answer.set_result(answer)
        waited = tuple(started - waiting.since for waiting in group)
        failed = any(isinstance(answer, BaseException) for answer in answers)
        self._last = len(group)
        self._ran(Ran(len(group), sum(max(w.rows, 1) for w in group), waited, ended - started, failed))
        if self._queue:
            self._plan()
        elif len(self._idle) == self._engines:
            for emptied in self._emptied:
                if not emptied.done():
                    emptied.set_result(None)
            self._emptied.clear()


_Runs = tuple[int, int, "list[dict[str, Array] | EnginewrightError]"]
"""When a run began and ended (``perf_counter_ns``), and an answer for each request."""


def _run(engine: Engine, feeds: Sequence[Feed], joining: Joining) -> _Runs:
    started = perf_counter_ns()
    answers = _joined(engine, feeds, joining) if len(feeds) > 1 else [_alone(engine, feeds[0])]
    return started, perf_counter_ns(), answers


def _joined(engine: Engine, feeds: Sequence[Feed], joining: Joining) -> list[dict[str, Array] | EnginewrightError]:
    """Each request's part of one run. Where that fails, or an output has not a row for each, each runs alone: one
    request's values (an index beyond a table) are no reason to refuse another's.
    """
    try:
        outputs = engine.infer(join(feeds, joining.inputs))
    except Exception:  # whatever it is: each alone is told what is wrong with it
        return [_alone(engine, feed) for feed in feeds]
    rows = [len(feed[joining.inputs[0]]) for feed in feeds]
    if any(outputs[name].ndim == 0 or len(outputs[name]) != sum(rows) for name in joining.outputs):
        return [_alone(engine, feed) for feed in feeds]
    answers: list[dict[str, Array] | EnginewrightError] = []
    end = 0
    for count in rows:
        start, end = end, end + count
        answers.append({name: value[start:end] for name, value in outputs.items()})
    return answers


def _alone(engine: Engine, feed: Feed) -> dict[str, Array] | EnginewrightError:
    try:
        return engine.infer(feed)
    except EnginewrightError as error:
        return error
    except Exception as error:  # whatever a library raises ends one request, not the server
        return EngineError(f"{type(error).__name__}: {error}")
