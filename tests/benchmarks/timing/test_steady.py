"""The steady measurement: what it trusts, what it refuses, and what it lists."""

from __future__ import annotations

import time
from dataclasses import replace
from math import ceil
from typing import Any

import numpy as np
import pytest

from benchmarks.timing.bursts import (
    KNOWN_BURSTS,
    Timings,
    burst_medians,
    compare_bursts,
    known,
    median_interval,
    variation,
)
from benchmarks.timing.conditions import Conditions, GpuConditions
from benchmarks.timing.latency import BURST_SECONDS
from benchmarks.timing.steady import Spread, judge, measure_steady, warm_up
from tests.benchmarks.timing.sleeping import FEED, Sleeping

pytestmark = pytest.mark.usefixtures("clock")
QUIET = Conditions(cpu="x", cores=4, load_average=0.5, mhz=3000.0, temperature_c=50.0, governor="performance")
GPU = GpuConditions("T4", sm_mhz=1590, memory_mhz=5000, temperature_c=60, power_w=60.0)


class Warming(Sleeping):
    """Twenty slow runs, then fast ones: a just-in-time compiler, a cold cache."""

    runs = 0

    def infer(self, feed: Any) -> dict[str, Any]:
        self.runs += 1
        time.sleep(max(0.0001, 0.004 * 0.7**self.runs))
        return {}


class Stalling(Sleeping):
    runs = 0

    def infer(self, feed: Any) -> dict[str, Any]:
        self.runs += 1
        time.sleep(0.05 if self.runs == 60 else 0.001)
        return {}


def timings(seconds: list[float], per_round: int = 4) -> Timings:
    return Timings([0.0] * len(seconds), seconds, [index // per_round for index in range(len(seconds))])


def test_baseline_and_candidate_are_compared_burst_by_burst() -> None:
    engines: Any = {"fp32": Sleeping(0.004), "int8": Sleeping(0.002)}
    found = measure_steady(engines, dict.fromkeys(engines, FEED), seconds=0.3)
    ratio = found.steadiness.speedup["int8"]
    assert found.steadiness.baseline == "fp32"
    assert ratio.low <= ratio.value <= ratio.high
    assert ratio.value == pytest.approx(2.0, rel=0.01)
    assert ratio.pairs >= 5


def test_a_machine_that_slows_down_does_not_move_the_ratio() -> None:
    drift = np.linspace(1.0, 3.0, 40)
    fp32, int8 = timings(list(0.002 * drift)), timings(list(0.001 * drift))
    assert compare_bursts(fp32, int8).value == pytest.approx(2.0)
    assert variation(fp32.seconds) > 0.2


def test_warm_up_lasts_until_the_engine_is_warm() -> None:
    engine: Any = Warming(0.0)
    assert warm_up(engine, FEED) >= 10


def test_a_stall_is_listed_with_its_time_and_size() -> None:
    engines: Any = {"one": Stalling(0.0)}
    found = measure_steady(engines, {"one": FEED}, seconds=0.2, min_runs=80)
    worst = found.steadiness.engines["one"].outliers[0]
    assert worst.ms == pytest.approx(50, rel=0.01) and worst.factor > 10 and worst.at_s > 0
    assert found.steadiness.engines["one"].outlier_count >= 1


def test_the_gate_names_the_engine_that_is_too_noisy() -> None:
    verdict = judge({"fp32": Spread(0.01, 30, 10), "int8": Spread(0.31, 30, 10)}, QUIET, QUIET)
    assert not verdict.ok
    assert len(verdict.reasons) == 1
    assert "bursts vary by 31.0% (int8)" in verdict.reasons[0]


def test_the_gate_blames_other_processes_only_where_there_is_noise() -> None:
    busy = replace(QUIET, load_average=9.0)
    assert judge({"a": Spread(0.01, 30, 10)}, QUIET, busy).ok
    assert "load average 9.0 on 4 cores" in judge({"a": Spread(0.2, 30, 10)}, QUIET, busy).reasons[-1]


def test_heat_and_throttling_are_seen() -> None:
    hot = replace(QUIET, temperature_c=80.0, gpus=[replace(GPU, sm_mhz=900)])
    reasons = " ".join(judge({}, replace(QUIET, gpus=[GPU]), hot).reasons)
    assert "warmed by 30" in reasons
    assert "T4 went from 1590 to 900 MHz" in reasons


def test_the_interval_of_a_median_covers_it_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(400):
        low, high = median_interval(sorted(rng.exponential(1.0, 31)))
        hits += low <= np.log(2) <= high
    assert hits / 400 >= 0.92


@pytest.mark.parametrize(("noise", "runs", "enough"), [(0.01, 80, True), (0.2, 80, False), (0.01, 20, False)])
def test_a_measurement_ends_early_where_it_is_known(noise: float, runs: int, enough: bool) -> None:
    rng = np.random.default_rng(0)
    found = {
        name: timings(list(mean * (1 + noise * rng.standard_normal(runs)))) for name, mean in (("a", 1.0), ("b", 0.5))
    }
    assert known([burst_medians(one) for one in found.values()]) is enough


@pytest.mark.parametrize("seconds", [0.002, 0.05])
def test_steady_engines_are_timed_until_they_are_known_and_no_further(seconds: float) -> None:
    engines: Any = {"fp32": Sleeping(seconds), "int8": Sleeping(seconds / 2)}
    known_at, all_of_it = (
        measure_steady(engines, dict.fromkeys(engines, FEED), seconds=3.0, until_known=early).steadiness.speedup["int8"]
        for early in (True, False)
    )
    assert known_at.pairs == max(KNOWN_BURSTS, ceil(20 / ceil(BURST_SECONDS / seconds))) < all_of_it.pairs
    assert known_at.value == pytest.approx(all_of_it.value)
