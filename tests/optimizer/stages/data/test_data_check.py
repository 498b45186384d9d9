"""What is said about data that cannot show much."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from calibration.source import split
from calibration.sources.open import open_source
from engines.engine import TensorSpec
from optimizer.stages.data.data_check import check_data
from optimizer.stages.data.inputs import Inputs
from tests.drawing import seeded

SPECS = (TensorSpec("x", "float32", ("N", 4), True), TensorSpec("mask", "int64", ("N", 4), True))
rng = seeded(0)


def samples(count, value=None):
    x = rng.standard_normal((count, 1, 4)) if value is None else np.full((count, 1, 4), value)
    return [{"x": row.astype(np.float32), "mask": np.ones((1, 4), np.int64)} for row in x]


def warnings(calibration: Sequence[object], held_back: Sequence[object] | None = None) -> list[str]:
    source = open_source(calibration, SPECS)
    parts = (source, open_source(held_back, SPECS)) if held_back else split(source, 8, 8, 0)
    return check_data(Inputs(*parts, True, "")).warnings


def test_varied_data_needs_no_word():
    assert warnings(samples(20)) == []


def test_one_sample_both_calibrates_and_is_held_back():
    said = warnings(samples(1))
    assert any("one calibration sample" in text for text in said)
    assert any("1 of 1 held-back samples are calibration samples too" in text for text in said)


def test_no_ranges_are_fitted_where_nothing_is_quantized():
    parts = split(open_source(samples(1), SPECS), 8, 8, 0)
    found = check_data(Inputs(*parts, True, ""), quantizes=False)
    assert found.warnings == [] and found.held_back_note == ""


def test_a_constant_input_is_named():
    assert any("input 'x' is 0 throughout" in text for text in warnings(samples(20, 0.0)))
    assert any("same sample" in text for text in warnings(samples(20, 0.0)))


def test_evaluation_data_that_was_calibrated_with():
    data = samples(10)
    found = check_data(Inputs(open_source(data, SPECS), open_source(data[:3] + samples(1), SPECS), True, ""))
    assert found.shared == 3 and "3 of them calibrate too" in found.held_back_note
