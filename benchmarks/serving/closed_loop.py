"""A closed loop of clients: each sends its next request when it has the answer to its last, as perf_analyzer's
``--concurrency-range`` does."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks.measurement import Latency, summarize_latency
from engines.engine import Engine, Feed
from graphs.errors import EnginewrightError, in_a_line

WARMUP_SECONDS = 0.3
"""Requests of these first seconds are not counted: connections open and batches form. Chosen."""
_GIVES_UP_AFTER = 5
"""Failures in a row after which a client stops: a server that is gone answers no faster for being asked again.
Chosen."""


@dataclass(frozen=True)
class LoadResult:
    """What ``clients`` got in ``seconds``: answered and failed requests of ``samples`` samples each; milliseconds
    per answered request, None where none was. ``errors`` are the failures' texts and how many had each. Where none was
    answered in the seconds asked for, ``seconds`` are those until the last client had its answer."""

    clients: int
    samples: int
    seconds: float
    requests: int
    failed: int
    latency_ms: Latency | None
    errors: Mapping[str, int] = field(default_factory=dict)

    @property
    def error(self) -> str:
        """Why requests failed, the commonest reason first, with how many failed so where there are several; empty where
        none did."""
        common = Counter(self.errors).most_common()
        return "; ".join(f"{count} × {why}" if len(common) > 1 else why for why, count in common)

    @property
    def rate(self) -> float:
        """Answered requests per second."""
        return self.requests / self.seconds

    @property
    def sample_rate(self) -> float:
        return self.rate * self.samples


@dataclass
class _Client:
    """One client's own record; ``done`` holds when each answer came and what it took, in seconds, ``failures`` when
    each was told and why."""

    done: list[tuple[float, float]] = field(default_factory=list)
    failures: list[tuple[float, str]] = field(default_factory=list)


def closed_loop(
    open_engine: Callable[[], Engine],
    feeds: Sequence[Feed],
    *,
    clients: int,
    seconds: float,
    samples: int = 1,
    warmup: float = WARMUP_SECONDS,
) -> LoadResult:
    """Run ``clients`` threads, each with an engine that it opens itself, on ``feeds`` in turn for ``seconds``.

    Raises what ``open_engine`` raises; failures of requests are counted, not raised.
    """
    records = [_Client() for _ in range(clients)]
    ready, opened = threading.Barrier(clients + 1), list[Exception]()
    threads = [
        threading.Thread(target=_run, args=(open_engine, feeds, number, record, ready, opened, seconds + warmup))
        for number, record in enumerate(records)
    ]
    for thread in threads:
        thread.start()
    try:
        ready.wait()
        start = time.perf_counter() + warmup
    except threading.BrokenBarrierError:
        start = time.perf_counter()
    for thread in threads:
        thread.join()
    if opened:
        raise opened[0]
    return _summary(records, start, seconds, samples, warmup)


def _run(
    open_engine: Callable[[], Engine],
    feeds: Sequence[Feed],
    number: int,
    record: _Client,
    ready: threading.Barrier,
    opened: list[Exception],
    seconds: float,
) -> None:
    try:
        engine = open_engine()
    except Exception as error:  # raised again by the thread that waits, which would otherwise wait for ever
        opened.append(error)
        ready.abort()
        return
    with engine:
        try:
            ready.wait()
        except threading.BrokenBarrierError:
            return
        _ask(engine, feeds, number, record, time.perf_counter() + seconds)


def _ask(engine: Engine, feeds: Sequence[Feed], number: int, record: _Client, until: float) -> None:
    failed_in_a_row, before = 0, time.perf_counter()
    while before < until and failed_in_a_row < _GIVES_UP_AFTER:
        try:
            engine.infer(feeds[number % len(feeds)])
        except EnginewrightError as error:
            record.failures.append((time.perf_counter(), in_a_line(error)))
            failed_in_a_row += 1
        else:
            now = time.perf_counter()
            record.done.append((now, now - before))
            failed_in_a_row = 0
        number += 1
        before = time.perf_counter()


def _summary(
    records: Sequence[_Client], start: float, seconds: float, samples: int, warmup: float = WARMUP_SECONDS
) -> LoadResult:
    done = [each for record in records for each in record.done]
    counted = [took for when, took in done if start <= when <= start + seconds]
    if done and not counted:  # requests longer than that: all of them, from the first one's begin to the last one's end
        counted, seconds = [took for _, took in done], max(when for when, _ in done) - (start - warmup)
    failures = [failure for record in records for failure in record.failures]
    errors = Counter(why for when, why in failures if when >= start or not done)  # all gave up in the warm-up
    return LoadResult(
        clients=len(records),
        samples=samples,
        seconds=seconds,
        requests=len(counted),
        failed=errors.total(),
        latency_ms=summarize_latency(list(np.asarray(counted))) if counted else None,
        errors=dict(errors),
    )
