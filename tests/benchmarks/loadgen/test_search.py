"""The search for the highest valid Server rate, on a model of an engine with a known limit."""

from __future__ import annotations

import math
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.loadgen.search import bisect, search_server
from benchmarks.loadgen.settings import LoadgenRequest, LoadgenResult, LoadgenSettings, Mode, Scenario


@given(limit=st.floats(20, 1e5), start=st.floats(20, 1e5))
def test_bisection_finds_the_limit_from_any_start(limit: float, start: float) -> None:
    found = bisect(lambda qps: qps <= limit, start, 0.02, 200)
    assert limit / 1.021 <= found <= limit


def test_nothing_valid_gives_zero() -> None:
    assert bisect(lambda qps: False, 100.0, 0.05, 10) == 0.0


def test_the_confirming_run_backs_off_when_a_lucky_probe_does_not_hold() -> None:
    seen: list[tuple[Scenario, float]] = []

    def run(request: LoadgenRequest) -> LoadgenResult:
        settings = request.settings
        qps = settings.target_qps or 1000.0
        seen.append((settings.scenario, settings.duration_s))
        limit = 900.0 if settings.duration_s < 10 else 800.0  # short runs are lucky
        offline = settings.scenario is Scenario.OFFLINE
        return LoadgenResult(
            settings.scenario, Mode.PERFORMANCE, offline or qps <= limit, "", 1000.0 if offline else qps, "",
            p99=qps / 10, target_qps=qps,
        )  # fmt: skip

    request = LoadgenRequest("engine", (), LoadgenSettings(Scenario.SERVER, duration_s=10.0), "logs")
    search = search_server(request, run=run)
    assert 700 < search.qps <= 800
    assert search.confirmed.valid
    assert math.isclose(search.share_of_offline, search.qps / 1000)
    assert seen[0][0] is Scenario.OFFLINE
    assert [point.qps for point in search.curve] == sorted(point.qps for point in search.curve)
    assert {point.valid for point in search.curve} == {True, False}


def test_more_engines_are_taken_while_they_bear_more() -> None:
    bears = {1: 400.0, 2: 700.0, 4: 720.0, 8: 5000.0}

    def run(request: LoadgenRequest) -> LoadgenResult:
        settings = request.settings
        qps = settings.target_qps or 0.0
        offline = settings.scenario is Scenario.OFFLINE
        value = 1.2 * bears[settings.workers] if offline else qps
        return LoadgenResult(
            settings.scenario, Mode.PERFORMANCE, offline or qps <= bears[settings.workers], "", value, "",
            p99=1.0, target_qps=qps, workers=settings.workers,
        )  # fmt: skip

    request = LoadgenRequest("engine", (), LoadgenSettings(Scenario.SERVER, duration_s=10.0), "logs")
    search = search_server(request, workers=(1, 2, 4, 8), run=run)
    assert search.confirmed.workers == 2
    assert 660 < search.qps <= 700
    assert math.isclose(search.offline_qps, 840)
    assert [(rate.workers, rate.qps is None) for rate in search.rates] == [(1, False), (2, False), (4, True)]
    assert max(point.qps for point in search.curve) < 1000


def test_a_wait_is_taken_while_it_bears_more() -> None:
    bears = {0.0: 400.0, 2.0: 600.0, 5.0: 610.0}
    tried: list[float] = []

    def run(request: LoadgenRequest) -> LoadgenResult:
        settings = request.settings
        tried.append(settings.max_wait_ms)
        qps = settings.target_qps or 0.0
        offline = settings.scenario is Scenario.OFFLINE
        return LoadgenResult(
            settings.scenario, Mode.PERFORMANCE, offline or qps <= bears[settings.max_wait_ms], "",
            500.0 if offline else qps, "", p99=1.0, target_qps=qps, batch=batch,
        )  # fmt: skip

    batch = 8
    asked = LoadgenSettings(Scenario.SERVER, duration_s=10.0, latency_bound_ms=100.0)
    search = search_server(LoadgenRequest("engine", (), asked, "logs"), run=run)
    assert [(wait.wait_ms, wait.qps is None) for wait in search.waits] == [(0.0, False), (2.0, False), (5.0, True)]
    assert 550 < search.qps <= 600 and tried[-1] == 2.0  # confirmed with it
    batch, bears[1.0] = 1, 400.0
    for settings in (asked, replace(asked, max_wait_ms=1.0)):  # nothing to join; the user says how long
        assert not search_server(LoadgenRequest("engine", (), settings, "logs"), run=run).waits
