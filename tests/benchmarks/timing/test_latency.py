"""Latency and throughput: statistics, interleaving, bounds in time."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.batching import repeat_to_batch, sample_count
from benchmarks.measurement import summarize_latency
from benchmarks.timing.latency import measure_latency
from engines.engine import TensorSpec, batchable
from tests.benchmarks.timing.sleeping import FEED, Sleeping

pytestmark = pytest.mark.usefixtures("clock")


def test_engines_take_turns_and_their_ratio_holds() -> None:
    log: list[str] = []
    engines: Any = {"a": Sleeping(0.002, log, "a"), "b": Sleeping(0.006, log, "b")}
    found = measure_latency(engines, FEED, seconds=0.15, min_runs=10)
    assert found["b"].p50 / found["a"].p50 == pytest.approx(3.0, rel=0.01)
    assert found["a"].n >= 10 and found["b"].n >= 10
    turns = [name for name, before in zip(log[7:], log[6:], strict=False) if name != before]
    assert len(turns) >= 3, "bursts alternate"


def test_a_slow_engine_stops_early_and_says_how_many_runs() -> None:
    engines: Any = {"slow": Sleeping(0.1)}
    found = measure_latency(engines, FEED, seconds=0.1, min_runs=100, warmup_runs=1)
    assert found["slow"].n == 4, "four times the seconds asked for"


def test_a_feed_is_repeated_to_a_batch() -> None:
    engine: Any = Sleeping(0.005)
    batch = repeat_to_batch(engine.inputs, FEED, 8)
    assert batch is not None and batch["x"].shape == (8, 2)


def test_a_static_model_takes_no_batches() -> None:
    specs = (TensorSpec("x", "float32", (1, 2)),)
    assert not batchable(specs)
    assert repeat_to_batch(specs, FEED, 8) is None
    assert sample_count(specs, FEED) == 1


def test_statistics_of_known_timings() -> None:
    latency = summarize_latency([0.001] * 99 + [0.1])
    assert latency.p50 == pytest.approx(1.0)
    assert latency.mean == pytest.approx(1.99)
    assert latency.outliers == 1
    assert latency.quantiles_ms[-1] == pytest.approx(100.0)
    assert latency.steady
