"""The harness's ceiling: what the study climbs to, and that it runs. How high it is only the study itself tells."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from studies.loadgen import ceiling


def test_the_ceiling_is_measured() -> None:
    found = ceiling.measure_ceiling(0.3, rates=(100.0,))
    assert found["offline_samples_per_s"] > 0
    assert found["server_qps_valid"] in (0.0, 100.0)


@pytest.mark.parametrize(
    ("valid", "highest", "tried"),
    [((1, 1, 1), 3, 3), ((1, 0, 1), 3, 3), ((1, 0, 0, 1), 1, 3), ((0, 0, 1), 0, 2)],
)
def test_climbing_stops_at_the_second_rate_that_fails(
    valid: tuple[int, ...], highest: float, tried: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    outcomes, asked = iter(valid), list[float]()

    def run(folder: object, samples: object, settings: Any) -> SimpleNamespace:
        asked.append(settings.target_qps)
        return SimpleNamespace(valid=bool(next(outcomes)))

    monkeypatch.setattr(ceiling, "_run", run)
    rates = [float(rate) for rate in range(1, len(valid) + 1)]
    assert ceiling._climb(tmp_path, (), 1.0, rates) == highest
    assert len(asked) == tried
