"""Raw inputs get room where their extremes still grow with the number of samples, and only there."""

from __future__ import annotations

import numpy as np
import pytest

from optimizer.quantization.headroom import MOST, growth, raw_inputs, unclipped
from tests.optimizer.quantization.models import normal, parse, table

MODEL = """
<ir_version: 10, opset_import: ["" : 18]>
m (float[N,4] features, float[4,4] w) => (float[N,4] y) {
  moved = Identity(features)
  y = MatMul(moved, w)
}
"""


def _feeds(values: np.ndarray) -> list[dict[str, np.ndarray]]:
    return [{"features": row[None].astype(np.float32)} for row in values]


def test_pixels_are_settled_and_counts_are_not() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (256, 64)) / 255
    counts = rng.pareto(2.0, (256, 64))
    assert growth(_feeds(pixels), ["features"])["features"] == 1.0
    assert growth(_feeds(rng.standard_normal((256, 64))), ["features"])["features"] == 1.0
    assert 1.3 <= growth(_feeds(counts), ["features"])["features"] <= MOST


def test_few_samples_tell_nothing() -> None:
    assert growth(_feeds(np.array([[1.0], [100.0]])), ["features"])["features"] == 1.0


def test_an_input_that_is_zero_in_most_samples_still_grows() -> None:
    values = np.zeros((64, 3))
    values[-1] = 5
    assert growth(_feeds(values), ["features"])["features"] == MOST


def test_room_goes_to_what_an_input_became_by_moving_only() -> None:
    sources = raw_inputs(parse(MODEL, {"w": normal(4, 4)}), ["moved", "y"])
    assert sources == {"moved": "features"}
    found = unclipped(table(moved=3.0, y=1.0), sources, {"features": 1.5})
    assert found.tensors["moved"].amax == pytest.approx(4.5)
    assert (found.tensors["moved"].low, found.tensors["moved"].high) == pytest.approx((-4.5, 4.5))
    assert found.tensors["y"].amax == 1.0
