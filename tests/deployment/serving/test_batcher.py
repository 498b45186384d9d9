"""Which requests are joined, and that each gets its own rows."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from deployment.serving.batcher import Batcher, Joining, Ran
from engines.engine import Array, Feed, TensorSpec
from engines.errors import EngineError

BATCH = Joining(("x",), ("y",), rows=8)


class Slow:
    """Adds ``k`` (0 without) to ``x``; holds every run until ``go``, refuses negative values."""

    refusal: type[Exception] = EngineError

    def __init__(self) -> None:
        self.go, self.feeds = threading.Event(), list[Feed]()
        self.inputs = self.outputs = (TensorSpec("x", "float32", ("n", 1)),)

    def infer(self, feed: Feed) -> dict[str, Array]:
        self.feeds.append(feed)
        assert self.go.wait(10)
        if (feed["x"] < 0).any():
            raise self.refusal("a negative value")
        return {"y": feed["x"] + feed.get("k", 0)}

    def close(self) -> None: ...


def rows(*values: float) -> dict[str, Array]:
    return {"x": np.array(values, np.float32).reshape(-1, 1)}


def batched(joining: Joining, work: Callable[[Batcher, Slow], Awaitable[Any]]) -> tuple[Slow, list[Ran]]:
    engine, ran = Slow(), list[Ran]()

    async def run() -> None:
        with ThreadPoolExecutor(1) as pool:
            batcher = Batcher([engine], pool, joining, ran.append)  # type: ignore[list-item]
            await asyncio.wait_for(work(batcher, engine), 10)
            engine.go.set()
            await asyncio.wait_for(batcher.empty(), 10)

    asyncio.run(run())
    return engine, ran


async def behind_one(batcher: Batcher, engine: Slow, feeds: list[dict[str, Array]]) -> list[Any]:
    """Answers of ``feeds``, all of which come while the engine is at work on another."""
    first = asyncio.ensure_future(batcher.infer(rows(0)))
    while not engine.feeds:
        await asyncio.sleep(0)
    others = [asyncio.ensure_future(batcher.infer(feed)) for feed in feeds]
    await asyncio.sleep(0)
    engine.go.set()
    found = await asyncio.gather(*others, return_exceptions=True)
    await first
    return found


def test_what_waits_goes_together_up_to_the_limit() -> None:
    async def work(batcher: Batcher, engine: Slow) -> None:
        found = await behind_one(batcher, engine, [rows(1, 2), rows(3), rows(*range(5)), rows(9)])
        assert [answer["y"].ravel().tolist() for answer in found] == [[1, 2], [3], [0, 1, 2, 3, 4], [9]]

    engine, ran = batched(BATCH, work)
    assert [len(feed["x"]) for feed in engine.feeds] == [1, 8, 1]
    assert [run.requests for run in ran] == [1, 3, 1]


@pytest.mark.parametrize("joining", [Joining(), Joining(("x",), ("y",), rows=1)])
def test_nothing_is_joined_where_axis_0_is_no_batch(joining: Joining) -> None:
    async def work(batcher: Batcher, engine: Slow) -> None:
        await behind_one(batcher, engine, [rows(1), rows(2)])

    assert [len(feed["x"]) for feed in batched(joining, work)[0].feeds] == [1, 1, 1]


def test_inputs_without_a_batch_must_be_equal() -> None:
    async def work(batcher: Batcher, engine: Slow) -> None:
        same, other = {"k": np.float32(1)}, {"k": np.float32(2)}
        found = await behind_one(batcher, engine, [rows(1) | same, rows(2) | same, rows(3) | other])
        assert [answer["y"].ravel().tolist() for answer in found] == [[2], [3], [5]]

    assert [len(feed["x"]) for feed in batched(BATCH, work)[0].feeds] == [1, 2, 1]


@pytest.mark.parametrize("refusal", [EngineError, RuntimeError, MemoryError])
def test_a_request_that_fails_fails_alone(refusal: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever an engine raises: a library's own error, too, ends one request, and leaves none without an answer."""
    monkeypatch.setattr(Slow, "refusal", refusal)

    async def work(batcher: Batcher, engine: Slow) -> None:
        found = await behind_one(batcher, engine, [rows(1), rows(-1), rows(2)])
        assert found[0]["y"] == 1 and isinstance(found[1], EngineError) and found[2]["y"] == 2

    batched(BATCH, work)


def test_an_output_with_other_rows_than_the_requests_is_not_cut_up() -> None:
    class Sums(Slow):
        def infer(self, feed: Feed) -> dict[str, Array]:
            super().infer(feed)
            return {"y": feed["x"].sum(keepdims=True)}

    async def run() -> list[Any]:
        engine = Sums()
        with ThreadPoolExecutor(1) as pool:
            batcher = Batcher([engine], pool, BATCH, lambda _: None)  # type: ignore[list-item]
            return await behind_one(batcher, engine, [rows(1, 2), rows(3)])

    assert [answer["y"].item() for answer in asyncio.run(run())] == [3, 3]


def test_no_rows_and_rows_beyond_the_limit_run_alone() -> None:
    async def work(batcher: Batcher, engine: Slow) -> None:
        found = await behind_one(batcher, engine, [rows(), rows(*range(20)), rows(1)])
        assert [len(answer["y"]) for answer in found] == [0, 20, 1]

    assert [len(feed["x"]) for feed in batched(BATCH, work)[0].feeds] == [1, 0, 20, 1]


def test_what_is_cancelled_while_it_waits_is_not_run() -> None:
    async def work(batcher: Batcher, engine: Slow) -> None:
        first = asyncio.ensure_future(batcher.infer(rows(0)))
        while not engine.feeds:
            await asyncio.sleep(0)
        gone, stays = (asyncio.ensure_future(batcher.infer(rows(value))) for value in (1, 2))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.sleep(0)
        engine.go.set()
        assert (await stays)["y"] == 2 and (await first)["y"] == 0

    assert [feed["x"].ravel().tolist() for feed in batched(BATCH, work)[0].feeds] == [[0], [2]]


def test_a_delay_waits_for_a_full_batch_and_no_longer() -> None:
    patient = Joining(("x",), ("y",), rows=3, delay=5.0)

    async def run() -> list[int]:
        engine = Slow()
        engine.go.set()
        with ThreadPoolExecutor(1) as pool:
            batcher = Batcher([engine], pool, patient, lambda _: None)  # type: ignore[list-item]
            waiting = []
            for value in range(3):
                waiting.append(asyncio.ensure_future(batcher.infer(rows(value))))
                await asyncio.sleep(0.01)
            await asyncio.wait_for(asyncio.gather(*waiting), 3)
        return [len(feed["x"]) for feed in engine.feeds]

    assert asyncio.run(run()) == [3]
