"""Feeds of any size through an engine whose profiles take so many samples at once."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from engines.engine import TensorSpec
from engines.feeds.portions import InPortions, largest_batch
from engines.onnxruntime.engine import OnnxRuntimeEngine
from engines.profile import ShapeProfile, ShapeRange

MODEL = (
    '<ir_version: 8, opset_import: ["" : 17]> g (float[N,3] x) => (float[N,3] y, float s)'
    " { y = Relu(x)  s = ReduceSum<keepdims = 0>(x) }"
)
FEED = {"x": np.arange(-6, 6, dtype=np.float32).reshape(4, 3)}


class Counting(OnnxRuntimeEngine):
    """Remembers how many samples it was fed."""

    def infer(self, feed):
        self.fed = [*getattr(self, "fed", []), feed["x"].shape[0]]
        return super().infer(feed)


@pytest.mark.parametrize(("rows_fed", "fed"), [(4, [4]), (9, [4, 4, 2]), (1, [2]), (12, [4, 4, 4])])
def test_an_engine_is_fed_what_its_profile_covers(rows_fed: int, fed: list[int]) -> None:
    text = '<ir_version: 8, opset_import: ["" : 17]> g (float[N,3] x) => (float[N,3] y) { y = Relu(x) }'
    inner = Counting(onnx.parser.parse_model(text).SerializeToString(), threads=1)
    inner.learn([TensorSpec("x", "float32", ("N", 3), batch=True)])
    profile = ShapeProfile({"x": ShapeRange((2, 3), (4, 3), (4, 3))})
    values = np.random.default_rng(0).standard_normal((rows_fed, 3)).astype(np.float32)
    with InPortions(inner, [profile]) as engine:
        np.testing.assert_array_equal(engine.infer({"x": values})["y"], np.maximum(values, 0))
    assert inner.fed == fed


@pytest.mark.parametrize(("rows_fed", "fed"), [(1, [1]), (3, [1, 2]), (8, [4, 4]), (13, [1, 4, 4, 4])])
def test_a_feed_is_divided_among_the_workers(rows_fed: int, fed: list[int]) -> None:
    text = '<ir_version: 8, opset_import: ["" : 17]> g (float[N,3] x) => (float[N,3] y) { y = Relu(x) }'
    inner = Counting(onnx.parser.parse_model(text).SerializeToString(), threads=1)
    inner.learn([TensorSpec("x", "float32", ("N", 3), batch=True)])
    values = np.random.default_rng(0).standard_normal((rows_fed, 3)).astype(np.float32)
    with InPortions(inner, [ShapeProfile({"x": ShapeRange((1, 3), (4, 3), (4, 3))})], workers=2) as engine:
        np.testing.assert_array_equal(engine.infer({"x": values})["y"], np.maximum(values, 0))
    assert sorted(inner.fed) == fed


def test_feeds_of_an_engine_whose_output_counts_no_samples_go_through_as_they_are() -> None:
    inner = Counting(onnx.parser.parse_model(MODEL).SerializeToString(), threads=1)
    inner.learn([TensorSpec("x", "float32", ("N", 3), batch=True)], [TensorSpec("s", "float32", (), batch=False)])
    with InPortions(inner, [ShapeProfile({"x": ShapeRange((1, 3), (2, 3), (2, 3))})]) as engine:
        np.testing.assert_allclose(engine.infer(FEED)["s"], FEED["x"].sum())
    assert inner.fed == [4]


def test_profiles_say_how_many_samples_an_engine_takes() -> None:
    inner = Counting(onnx.parser.parse_model(MODEL).SerializeToString(), threads=1)
    inner.learn([TensorSpec("x", "float32", ("N", 3), batch=True)])
    assert largest_batch(inner) is None
    ranges = (ShapeRange((1, 3), (2, 3), (4, 3)), ShapeRange((1, 3), (8, 3), (32, 3)))
    inner.profiles = tuple(ShapeProfile({"x": found}) for found in ranges)
    assert largest_batch(inner) == 32
