"""Scales of data below what FP16 holds: typing multiplies them with their data."""

from __future__ import annotations

import numpy as np
import pytest

from graphs.reading.number_types import SMALLEST_SCALE
from optimizer.quantization.codes.weights import SMALLEST_OF_DATA, fp16_representable


@pytest.mark.parametrize("scale", [3e-7, 1.2345e-14, 1e-25])
def test_a_small_scale_of_data_is_a_power_of_two_times_a_number_of_fp16(scale: float) -> None:
    found = float(fp16_representable(scale, SMALLEST_OF_DATA))
    assert abs(found - scale) <= scale / 2048
    mantissa = np.frexp(found)[0]
    assert np.float16(mantissa) == mantissa


def test_weights_keep_the_least_scale_of_fp16() -> None:
    assert float(fp16_representable(1e-12)) == SMALLEST_SCALE
