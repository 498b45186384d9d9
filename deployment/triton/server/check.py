"""Whether a model that a Triton serves gives the engine's own answers, and what it costs to ask it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from benchmarks.accuracy.compare import compare
from benchmarks.serving.closed_loop import LoadResult, closed_loop
from engines.engine import Array, Engine, EngineBase, Feed
from engines.errors import EngineError
from engines.kserve import TIMEOUT_SECONDS

CLOSE_DB = 30.0
"""SQNR from which answers that differ in bits are still the engine's: another release of a library rounds otherwise,
and a quantized value that falls to the other side is one step off. Quantization itself costs 30 to 45 dB. Chosen."""
CLIENTS = 16
"""Clients of the load, one request in flight each: as many as Triton's own examples drive it with. Chosen."""
LOAD_SECONDS = 2.0
"""Of each load. Chosen."""


@dataclass(frozen=True)
class Answers:
    """Of ``requests`` over one protocol how many had the engine's answers bit for bit; where not all did, the lowest
    SQNR over its float outputs in dB and the lowest agreement of the others, None where all did."""

    how: str
    requests: int
    equal: int
    sqnr_db: float | None = None
    agreement: float | None = None

    @property
    def ok(self) -> bool:
        if self.equal == self.requests:
            return True
        close = self.sqnr_db is None or self.sqnr_db >= CLOSE_DB
        return close and (self.agreement is None or self.agreement == 1.0)

    @property
    def text(self) -> str:
        if self.equal == self.requests:
            return f"{self.requests} requests over {self.how}: every answer equal to the engine's, bit for bit"
        parts = [f"SQNR {self.sqnr_db:.1f} dB"] if self.sqnr_db is not None else []
        parts += [f"agreement {self.agreement:.4f}"] if self.agreement is not None else []
        return f"{self.requests} requests over {self.how}: {self.equal} equal bit for bit; {', '.join(parts)}"


@dataclass(frozen=True)
class Loads:
    """Requests of ``batch`` samples: those that the engine answers in this process, one after the other, and those
    that clients got answered over gRPC: ``CLIENTS``, or as many as a slow engine can answer in time."""

    batch: int
    direct: LoadResult
    served: LoadResult

    @property
    def ratio(self) -> float:
        """Of the engine's own throughput, what arrives through the server."""
        return self.served.rate / self.direct.rate


@dataclass(frozen=True)
class ModelCheck:
    """What was found of one served model; ``batch_histogram`` counts the server's executions by samples."""

    model: str
    answers: tuple[Answers, ...]
    loads: tuple[Loads, ...] = ()
    batch_histogram: dict[int, int] | None = None

    @property
    def ok(self) -> bool:
        return all(answers.ok for answers in self.answers) and all(not loads.served.failed for loads in self.loads)


def check_answers(engine: Engine, served: Engine, feeds: Sequence[Feed], how: str) -> Answers:
    """Send ``feeds`` one after the other and compare every answer with the engine's own."""
    return _compared(engine, served, feeds, [served.infer(feed) for feed in feeds], how)


def check_together(engine: Engine, open_served: Callable[[], EngineBase], feeds: Sequence[Feed], how: str) -> Answers:
    """The same with all of ``feeds`` in flight at once, so that the server joins some of them."""
    with open_served() as served, ThreadPoolExecutor(len(feeds)) as pool:
        return _compared(engine, served, feeds, list(pool.map(served.infer, feeds)), how)


def _compared(
    engine: Engine, served: Engine, feeds: Sequence[Feed], answers: Sequence[dict[str, Array]], how: str
) -> Answers:
    expected = [engine.infer(feed) for feed in feeds]
    equal = sum(_same(own, answer) for own, answer in zip(expected, answers, strict=True))
    if equal == len(feeds):
        return Answers(how, len(feeds), equal)
    found = compare(_Replayed(engine, expected), {"served": _Replayed(served, answers)}, feeds)["served"]
    if found.failures:
        raise EngineError(found.failures[0], where=how)
    floats = [output.sqnr_db for output in found.outputs.values() if output.floats]
    others = [output.agreement for output in found.outputs.values() if not output.floats]
    return Answers(how, len(feeds), equal, min(floats, default=None), min(others, default=None))


def check_loads(
    engine: EngineBase,
    open_served: Callable[[], EngineBase],
    feeds: Sequence[tuple[int, Feed]],
    *,
    seconds: float = LOAD_SECONDS,
) -> tuple[Loads, ...]:
    """For each ``(batch, feed)``, the engine's own throughput and the server's. The engine answers one request at a
    time with all its threads, before and after the server has its turn: half of its ``seconds`` each."""
    found = []
    for batch, feed in feeds:
        before = _direct(engine, batch, feed, seconds / 2)
        served = closed_loop(open_served, [feed], clients=_clients(before), seconds=seconds, samples=batch)
        after = _direct(engine, batch, feed, seconds / 2)
        found.append(Loads(batch, max(before, after, key=lambda load: load.rate), served))
    return tuple(found)


def _clients(direct: LoadResult) -> int:
    """As many as the engine would answer one after the other in half the time that a request may take."""
    if direct.latency_ms is None:
        return CLIENTS
    return max(1, min(CLIENTS, int(TIMEOUT_SECONDS * 1e3 / 2 / direct.latency_ms.p50)))


def _direct(engine: EngineBase, batch: int, feed: Feed, seconds: float) -> LoadResult:
    return closed_loop(lambda: _Shared(engine), [feed], clients=1, seconds=seconds, samples=batch)


def _same(first: dict[str, Array], second: dict[str, Array]) -> bool:
    return first.keys() == second.keys() and all(_same_array(first[name], second[name]) for name in first)


def _same_array(first: Array, second: Array) -> bool:
    if first.dtype != second.dtype or first.shape != second.shape:
        return False
    if first.dtype == object:  # text: its bytes lie elsewhere
        return bool(np.array_equal(first, second))
    return np.ascontiguousarray(first).tobytes() == np.ascontiguousarray(second).tobytes()


class _Replayed(EngineBase):
    """Gives answers back in order."""

    def __init__(self, engine: Engine, answers: Sequence[dict[str, Array]]) -> None:
        self._inputs, self._outputs = engine.inputs, engine.outputs
        self._answers = iter(answers)

    def infer(self, feed: Feed) -> dict[str, Array]:
        return next(self._answers)

    def close(self) -> None:
        """Holds nothing."""


class _Shared(EngineBase):
    """An engine that somebody else closes."""

    def __init__(self, engine: EngineBase) -> None:
        self._engine, self._inputs, self._outputs = engine, engine.inputs, engine.outputs

    def infer(self, feed: Feed) -> dict[str, Array]:
        return self._engine.infer(feed)

    def close(self) -> None:
        """Left open."""
