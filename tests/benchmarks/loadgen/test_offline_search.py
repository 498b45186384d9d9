"""The search for the best Offline setting, on a model of an engine with a known optimum."""

from __future__ import annotations

from benchmarks.loadgen.offline_search import instance_counts, search_offline
from benchmarks.loadgen.settings import LoadgenRequest, LoadgenResult, LoadgenSettings, Mode, Scenario


def test_the_best_batch_and_number_of_engines_are_found_and_confirmed() -> None:
    tried: list[tuple[int, int, float]] = []

    def run(request: LoadgenRequest) -> LoadgenResult:
        settings = request.settings
        assert settings.batch is not None
        tried.append((settings.workers, settings.batch, settings.duration_s))
        fits = settings.batch <= 64  # larger ones are out of memory
        rate = 100.0 * settings.workers * (1 - abs(settings.batch - 32) / 64)
        return LoadgenResult(Scenario.OFFLINE, Mode.PERFORMANCE, fits, "", rate if fits else None, "samples/s")

    request = LoadgenRequest("engine", (), LoadgenSettings(Scenario.OFFLINE, duration_s=10.0), "logs")
    found = search_offline(request, workers=(1, 2), run=run)
    assert tried[-1] == (2, 32, 10.0), "confirmed with the full duration"
    assert (found.points[0].workers, found.points[0].batch) == (2, 32)
    assert len(tried) < 14, "it climbs, it does not try everything"
    assert found.summary().offline_qps == 200.0
    assert instance_counts()[0] == 1
