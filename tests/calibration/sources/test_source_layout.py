"""What the first axis of stored arrays means, for each kind of model input."""

from __future__ import annotations

import numpy as np
import pytest

from calibration.sources.layout import plan_layout
from engines.engine import TensorSpec
from graphs.errors import BadInput

IMAGE = (TensorSpec("x", "float32", ("batch", 3, 4, 4)),)
STATIC = (TensorSpec("x", "float32", (1, 3, 4, 4)),)
STATIC_BATCH = (TensorSpec("x", "float32", (8, 3)),)
TOKENS = (TensorSpec("ids", "int64", ("batch", "seq")), TensorSpec("mask", "int64", ("batch", "seq")))
STATEFUL = (
    TensorSpec("audio", "float32", ("batch", "frame")),
    TensorSpec("state", "float32", (2, "batch", 8)),
    TensorSpec("rate", "int64", ()),
)
HALF_BATCHED = (TensorSpec("x", "float32", ("batch", 3)), TensorSpec("scale", "float32", (1,)))


@pytest.mark.parametrize(
    ("specs", "shapes", "count"),
    [
        (IMAGE, {"x": (7, 3, 4, 4)}, 7),
        (IMAGE, {"x": (3, 4, 4)}, 1),
        (IMAGE, {"x": (7, 1, 3, 4, 4)}, 7),
        (STATIC, {"x": (1, 3, 4, 4)}, 1),
        (STATIC, {"x": (5, 3, 4, 4)}, 5),
        (STATIC, {"x": (3, 4, 4)}, 1),
        (STATIC_BATCH, {"x": (24, 3)}, 3),
        (STATIC_BATCH, {"x": (5, 8, 3)}, 5),
        (TOKENS, {"ids": (6, 9), "mask": (6, 9)}, 6),
        (TOKENS, {"ids": (9,), "mask": (9,)}, 1),
        (STATEFUL, {"audio": (1, 16), "state": (2, 1, 8), "rate": ()}, 1),
        (STATEFUL, {"audio": (5, 1, 16), "state": (5, 2, 1, 8), "rate": (5,)}, 5),
        (STATEFUL, {"audio": (5, 1, 16), "state": (5, 2, 1, 8), "rate": ()}, 5),
        (HALF_BATCHED, {"x": (6, 3), "scale": (1,)}, 6),
        (IMAGE, {"x": (5, 2, 3, 4, 4)}, 10),
    ],
)
def test_counts_samples(specs, shapes, count):
    assert plan_layout(shapes, specs, "data").count == count


@pytest.mark.parametrize(
    ("specs", "shapes", "words"),
    [
        (IMAGE, {"x": (4, 4)}, "do not fit"),
        (IMAGE, {"x": (0, 3, 4, 4)}, "no samples"),
        (TOKENS, {"ids": (6, 9), "mask": (5, 9)}, "different numbers of samples"),
        (TOKENS, {"ids": (6, 9), "mask": (9,)}, "do not fit"),
        (STATEFUL, {"audio": (5, 1, 16), "state": (4, 2, 1, 8), "rate": ()}, "different numbers of samples"),
    ],
)
def test_refuses_what_fits_no_layout(specs, shapes, words):
    with pytest.raises(BadInput, match=words):
        plan_layout(shapes, specs, "data")


TABLE = (TensorSpec("x", "float32", ("N", 3), True), TensorSpec("table", "float32", ("V", 2), False))
CLOUD = (TensorSpec("points", "float32", ("P", 3), False),)
CACHE = (TensorSpec("ids", "int64", ("B", 1), True), TensorSpec("past", "float32", ("B", 2, "P", 4), True))


def test_inputs_found_not_to_be_batched_stay_whole():
    layout = plan_layout({"x": (6, 3), "table": (9, 2)}, TABLE, "data")
    assert layout.count == 6 and layout.cuts["table"].rows is None
    assert plan_layout({"points": (250, 3)}, CLOUD, "data").cuts["points"].rows is None
    assert plan_layout({"points": (7, 250, 3)}, CLOUD, "data").count == 7


def test_rows_that_fill_no_batch_are_counted_as_left_out():
    layout = plan_layout({"x": (20, 3)}, STATIC_BATCH, "data")
    assert (layout.count, layout.left_out, layout.filled) == (2, 4, False)


def test_too_few_rows_are_repeated():
    layout = plan_layout({"x": (5, 3)}, STATIC_BATCH, "data")
    assert (layout.count, layout.left_out, layout.filled) == (1, 0, True)
    assert layout.cuts["x"].apply(np.arange(5)[:, None])[:, 0].tolist() == [0, 1, 2, 3, 4, 0, 1, 2]


def test_a_static_input_of_one_row_is_shared_by_all_samples():
    specs = (TensorSpec("x", "float32", (1, 3)), TensorSpec("scale", "float32", (1,)))
    layout = plan_layout({"x": (6, 3), "scale": (1,)}, specs, "data")
    assert layout.count == 6 and layout.cuts["scale"].rows is None


def test_an_empty_axis_leaves_the_sample_out():
    layout = plan_layout({"ids": (1, 1), "past": (1, 2, 0, 4)}, CACHE, "data")
    assert layout.count == 0 and layout.empty == "'past' is empty (axis 2 has length 0)"
