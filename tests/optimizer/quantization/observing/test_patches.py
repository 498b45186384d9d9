"""Rows drawn of the matrices that weighted ops multiply: the same ones, worked out for all feeds at once or one by one."""
# ruff: noqa: E501 (models as text)

from __future__ import annotations

import numpy as np
import pytest

from graphs.reading.weighted import WeightedOp
from optimizer.quantization.observing.patches import RowSampler
from optimizer.quantization.rules.weighted import weighted_op
from tests.optimizer.quantization.models import HEAD_19, parse

FEEDS = 6
RNG = np.random.default_rng(4)
CASES = {
    "conv": ("y = Conv <strides=[2,1], pads=[1,0,2,1]> (x, w)", (2, 8, 9, 8), (16, 8, 3, 2)),
    "depthwise": ("y = Conv <group=16, dilations=[2,2], pads=[2,2,2,2]> (x, w)", (1, 16, 7, 7), (16, 1, 3, 3)),
    "conv1d": ("y = Conv (x, w)", (3, 8, 11), (16, 8, 5)),
    "conv3d": ("y = Conv <pads=[1,1,1,0,0,0]> (x, w)", (1, 8, 5, 4, 6), (16, 8, 2, 2, 2)),
    "product": ("y = MatMul (x, w)", (2, 7, 32), (32, 16)),
}


def case(name: str) -> tuple[WeightedOp, tuple[int, ...]]:
    call, shape, weight = CASES[name]
    dims = ",".join(map(str, shape))
    text = f"{HEAD_19} g (float[{dims}] x, float[{','.join(map(str, weight))}] w) => (float y) {{ {call} }}"
    op = weighted_op(parse(text, {"w": RNG.standard_normal(weight).astype(np.float32)}).graph[0])
    assert isinstance(op, WeightedOp)
    return op, shape


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("count", [1, 4, 10**6])
def test_rows_of_a_feed_do_not_depend_on_the_other_feeds(name: str, count: int) -> None:
    op, shape = case(name)
    feeds = [{"x": RNG.standard_normal(shape).astype(np.float32)} for _ in range(FEEDS)]
    longer = {"x": RNG.standard_normal((*shape[:1], shape[1], *(n + 1 for n in shape[2:]))).astype(np.float32)}
    together, apart = RowSampler(feeds, 7), RowSampler([*feeds, longer if len(shape) > 3 else {"z": np.zeros(2)}], 7)
    for index in reversed(range(FEEDS)):
        data = feeds[index]["x"]
        rows = together.rows(op, data, count, index)
        np.testing.assert_array_equal(rows, apart.rows(op, data, count, index))
        assert len(rows) <= count and rows.shape[1] == (16 if name == "depthwise" else 1)


@pytest.mark.parametrize("name", ["conv", "product"])
def test_shapes_that_values_decide_are_met_as_they_come(name: str) -> None:
    """All feeds alike, and what an op reads has as many positions as values say."""
    op, shape = case(name)
    feeds = [{"x": np.zeros(3)} for _ in range(FEEDS)]
    data = [RNG.standard_normal((1 + index % 3, *shape[1:])).astype(np.float32) for index in range(FEEDS)]
    together, apart = RowSampler(feeds, 7), RowSampler([*feeds, {"z": np.zeros(1)}], 7)
    for index, values in enumerate(data):
        np.testing.assert_array_equal(together.rows(op, values, 5, index), apart.rows(op, values, 5, index))
