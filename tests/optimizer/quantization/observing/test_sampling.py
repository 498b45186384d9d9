"""Which samples corrections see, and which they are judged on."""

from __future__ import annotations

import numpy as np
import pytest

from engines.engine import Feed
from optimizer.quantization.observing.sampling import divided


def numbered(count: int) -> list[Feed]:
    return [{"x": np.asarray([number])} for number in range(count)]


def numbers(feeds: object) -> list[int]:
    return [int(feed["x"][0]) for feed in feeds]  # type: ignore[attr-defined]


def test_what_follows_is_judged_on_where_there_is_more() -> None:
    found = divided(numbered(100), {"conv": 2_500_000_000})
    assert numbers(found.feeds) == numbers(found.fit) == list(range(8))
    assert numbers(found.judged) == numbers(found.unseen) == list(range(8, 24))


@pytest.mark.parametrize("count", [2, 3, 4, 8, 13])
def test_few_samples_are_divided_for_a_correction_on_trial(count: int) -> None:
    """It used to be judged on the very samples that it was made from."""
    found = divided(numbered(count), {"conv": 1000})
    assert numbers(found.feeds) == numbers(found.judged) == list(range(count))
    assert sorted(numbers(found.fit) + numbers(found.unseen)) == list(range(count))
    assert found.fit
    assert found.unseen


def test_a_single_sample_has_to_do_for_both() -> None:
    found = divided(numbered(1), {"conv": 1000})
    assert numbers(found.fit) == numbers(found.unseen) == [0]


def test_many_samples_are_not_divided() -> None:
    found = divided(numbered(64), {"conv": 1000})
    assert numbers(found.fit) == numbers(found.unseen) == numbers(found.judged) == list(range(64))


def test_samples_are_few_where_there_are_no_more_of_them() -> None:
    heavy = {"a": 10**12}
    assert divided(numbered(8), heavy).few and len(divided(numbered(8), heavy).every) == 8
    assert not divided(numbered(64), heavy).few
    assert divided(numbered(8), {}).few and not divided(numbered(64), {}).few
