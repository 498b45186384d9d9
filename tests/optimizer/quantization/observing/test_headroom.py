"""Raw inputs get room where their extremes still grow with the number of samples, and only there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from optimizer.quantization.observing.capture import Reach
from optimizer.quantization.observing.headroom import (
    MOST,
    TOLD,
    RawInput,
    ends,
    growth,
    mirrored,
    raw_inputs,
    roomier,
    sparse,
    unclipped,
)
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


def _growth(feeds: list[dict[str, np.ndarray]]) -> float:
    return growth(ends(feeds, [RawInput("features")]))["features"]


def test_pixels_are_settled_and_counts_are_not() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (256, 64)) / 255
    counts = rng.pareto(2.0, (256, 64))
    assert _growth(_feeds(pixels)) == 1.0
    assert _growth(_feeds(rng.standard_normal((256, 64)))) == 1.0
    assert 1.3 <= _growth(_feeds(counts)) <= MOST


def test_few_samples_tell_nothing() -> None:
    assert _growth(_feeds(np.array([[1.0], [100.0]]))) == 1.0


def test_an_input_that_is_zero_in_most_samples_still_grows() -> None:
    values = np.zeros((64, 3))
    values[-1] = 5
    assert _growth(_feeds(values)) == MOST


def test_room_goes_to_what_an_input_became_by_moving_only() -> None:
    sources = raw_inputs(parse(MODEL, {"w": normal(4, 4)}), ["moved", "y"])
    assert {name: (raw.name, raw.factor) for name, raw in sources.items()} == {"moved": ("features", None)}
    found = unclipped(table(moved=3.0, y=1.0), sources, {"features": 1.5})
    assert found.tensors["moved"].amax == pytest.approx(4.5)
    assert (found.tensors["moved"].low, found.tensors["moved"].high) == pytest.approx((-4.5, 4.5))
    assert found.tensors["y"].amax == 1.0


def test_ends_of_noise_are_alike_and_those_of_pixels_are_what_they_are() -> None:
    rng = np.random.default_rng(1)
    noise = rng.standard_normal((8, 3072))
    noise[:, 0], noise[0, 0] = 0.0, 4.5  # one end was met farther away than the other
    pixels = (rng.integers(0, 256, (8, 3072)) / 255 - 0.45) / 0.225
    one_sided = np.abs(noise)
    for values, expected in ((noise, True), (pixels, False), (one_sided, False)):
        assert bool(mirrored(ends(_feeds(values), [RawInput("features")]))) is expected


def test_an_end_that_is_alike_is_as_far_away_as_the_other() -> None:
    sources = {"x": RawInput("features")}
    found = replace(table(x=4.0).tensors["x"], minimum=-3.0, maximum=4.0)
    ranges = unclipped(replace(table(), tensors={"x": found}), sources, {"features": 1.0}, {"features"})
    assert (ranges.tensors["x"].low, ranges.tensors["x"].high) == (-4.0, 4.0)


MANY, FEW = TOLD, 100


def test_ends_that_vary_get_room_and_those_that_do_not_stay() -> None:
    found = replace(table(x=4.0).tensors["x"], low=-1.0, high=4.0)
    known = replace(table(), tensors={"x": found, "relu": replace(found, low=0.0), "y": found})
    varied = np.array([[-1.0, 2.0], [-1.0, 4.0]])
    rooms = roomier(known, {"x": Reach(varied, MANY), "relu": Reach(varied * [0, 1], MANY)}).tensors
    assert (rooms["x"].low, rooms["x"].high) == pytest.approx((-1.0, 4.0 + np.sqrt(2)))
    assert rooms["relu"].low == 0.0 and rooms["relu"].high > 4
    assert rooms["y"] == found and rooms["x"].amax == found.amax


def test_tensors_of_few_values_are_not_clipped_and_get_room_in_both_schemes() -> None:
    clipped = replace(table(x=3.0).tensors["x"], minimum=-0.5, maximum=4.0, low=0.0, high=3.0)
    known = replace(table(), tensors={"x": clipped})
    varied = np.array([[-0.5, 2.0], [-0.5, 4.0]])
    few = roomier(known, {"x": Reach(varied, FEW)}).tensors["x"]
    assert few.amax == few.high == pytest.approx(4.0 + np.sqrt(2)) and few.low == -0.5
    assert roomier(known, {"x": Reach(varied, MANY)}).tensors["x"].amax == 3.0


def test_a_bound_that_many_samples_reach_gets_no_room() -> None:
    pixels = np.array([[0.0, 1.0]] * 5 + [[0.0, 0.2]] * 3)
    found = replace(table(x=1.0).tensors["x"], minimum=0.0, maximum=1.0, low=0.0, high=1.0)
    known = replace(table(), tensors={"x": found})
    assert roomier(known, {"x": Reach(pixels, FEW)}).tensors["x"] == found


def test_ends_that_are_alike_reach_as_far_where_few_values_were_seen() -> None:
    found = replace(table(x=4.0).tensors["x"], minimum=-3.0, maximum=4.0, low=-3.0, high=4.0)
    known = replace(table(), tensors={"x": found})
    noise = Reach(np.array([[-3.0, 2.0], [-2.0, 4.0]]), FEW)
    room = roomier(known, {"x": noise}).tensors["x"]
    assert room.high == -room.low == room.amax > 4.0


def test_ranges_of_tensors_of_which_little_was_seen_are_not_searched() -> None:
    ends = np.zeros((8, 2))
    assert sparse({"pooled": Reach(ends, FEW), "map": Reach(ends, MANY)}) == {"pooled"}


def test_an_input_that_is_cast_is_still_an_input() -> None:
    text = """
    <ir_version: 10, opset_import: ["" : 18]>
    m (float16[N,4] features, float[4,4] w) => (float[N,4] y) { cast = Cast<to=1>(features) y = MatMul(cast, w) }
    """
    assert raw_inputs(parse(text, {"w": normal(4, 4)}), ["cast"])["cast"].label == "features"


@pytest.mark.parametrize("product", ["Mul(features, by)", "Mul(by, features)"])
def test_a_column_in_other_units_grows_by_itself(product: str) -> None:
    """Beside seconds since 1970, which are settled, a column of counts: scaled to one size, its tail is seen."""
    text = f"""
    <ir_version: 10, opset_import: ["" : 18]>
    m (float[N,2] features, float[2] by, float[2,4] w) => (float[N,4] y) {{ scaled = {product} y = MatMul(scaled, w) }}
    """
    model = parse(text, {"w": normal(2, 4), "by": np.array([1e-9, 1], np.float32)})
    rng = np.random.default_rng(0)
    values = np.stack([1.7e9 + 1e7 * rng.random(256), rng.pareto(2.0, 256)], axis=1)
    raw = raw_inputs(model, ["scaled", "y"])
    assert {name: (each.name, each.label) for name, each in raw.items()} == {"scaled": ("features", "scaled")}
    assert growth(ends(_feeds(values), raw.values()))["scaled"] >= 1.3 > _growth(_feeds(values))
