"""How numbers read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.report import formats


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (formats.count(11_173_962), "11.2 M"),
        (formats.count(None), "–"),
        (formats.size(1536), "1.50 KiB"),
        (formats.size(12), "12 B"),
        (formats.milliseconds(0.0123), "12.3 µs"),
        (formats.milliseconds(4.117), "4.12 ms"),
        (formats.milliseconds(2500), "2.50 s"),
        (formats.seconds(75.2), "1 min 15 s"),
        (formats.seconds(59.99), "1 min 00 s"),
        (formats.rate(12345.6), "12,346 /s"),
        (formats.percent(0.9999), "> 99.9 %"),
        (formats.percent(1.0), "100 %"),
        (formats.percent(0.00001), "< 0.1 %"),
        (formats.percent(0.0), "0.0 %"),
        (formats.significant(float("nan")), "–"),
    ],
)
def test_numbers_read_as_people_write_them(shown: str, expected: str) -> None:
    assert shown == expected


@given(st.floats(0, 1))
def test_a_share_reads_100_percent_only_when_it_is(share: float) -> None:
    assert (formats.percent(share) == "100 %") == (share == 1.0)


@given(st.floats(1e-5, 1e12))
def test_three_digits_stay_within_half_a_percent(value: float) -> None:
    assert float(formats.significant(value).replace(",", "")) == pytest.approx(value, rel=5.1e-3)
