"""A sample of the study: random graphs mean the same in the form for TensorRT 8, or are refused with a reason."""

from __future__ import annotations

import pytest

from optimizer.settings.options import Precision
from studies.tensorrt8.judging import REFUSED, TAKEN, UNUSABLE
from studies.tensorrt8.random_graphs import trial


@pytest.mark.parametrize("precision", [Precision.FP16, Precision.INT8])
@pytest.mark.parametrize(("first", "wide"), [(0, False), (0, True)])
def test_random_graphs(first: int, wide: bool, precision: Precision) -> None:
    found = [trial(seed, precision, wide=wide) for seed in range(first, first + 5)]
    outcomes = [outcome for outcome in found if outcome is not None]
    assert all(outcome.outcome in (TAKEN, REFUSED, UNUSABLE) for outcome in outcomes), outcomes
    assert sum(outcome.outcome == TAKEN for outcome in outcomes) > len(outcomes) / 2
