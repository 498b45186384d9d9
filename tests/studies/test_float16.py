"""A transformer with overflows planted in it, judged in real float16."""

from __future__ import annotations

import math

from studies.float16.casts import row
from studies.float16.transformer import sample, transformer


def test_a_twentieth_of_the_nodes_in_fp32_is_enough() -> None:
    found = row("planted", transformer(), sample)
    assert found.sqnr_db > 50
    assert found.wide <= 0.05 * found.nodes
    assert found.casts <= 7  # one at each end, five around two islands
    assert found.plain_db == -math.inf  # else nothing is planted
