"""Where error sits: noise powers of nodes measured alone in INT8 add up to one."""

import pytest

from benchmarks.report.extras import NodeRow
from benchmarks.report.view import error_shares


def test_shares_are_of_noise_power_and_sorted() -> None:
    rows = [
        NodeRow("a", "Conv", "int8", cost_db=30.0),
        NodeRow("b", "Conv", "fp16", cost_db=20.0),
        NodeRow("c", "Relu", "fp16"),
    ]
    found = error_shares(rows)
    assert [error.row.name for error in found] == ["b", "a"]
    assert found[0].share == pytest.approx(10 / 11)
    assert sum(error.share for error in found) == pytest.approx(1)
