"""What the first axis of stored arrays means, for each kind of model input."""

from __future__ import annotations

import pytest

from calibration.sources.layout import plan_layout
from engines.engine import TensorSpec
from engines.errors import BadInput

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
    ],
)
def test_counts_samples(specs, shapes, count):
    assert plan_layout(shapes, specs, "data").count == count


@pytest.mark.parametrize(
    ("specs", "shapes", "words"),
    [
        (IMAGE, {"x": (4, 4)}, "do not fit"),
        (IMAGE, {"x": (0, 3, 4, 4)}, "no samples"),
        (STATIC_BATCH, {"x": (20, 3)}, "do not fit"),
        (TOKENS, {"ids": (6, 9), "mask": (5, 9)}, "different numbers of samples"),
        (TOKENS, {"ids": (6, 9), "mask": (9,)}, "do not fit"),
        (STATEFUL, {"audio": (5, 1, 16), "state": (4, 2, 1, 8), "rate": ()}, "different numbers of samples"),
    ],
)
def test_refuses_what_fits_no_layout(specs, shapes, words):
    with pytest.raises(BadInput, match=words):
        plan_layout(shapes, specs, "data")
