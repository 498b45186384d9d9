"""One sample against the model's inputs: only conversions that keep values, finite values, consistent axes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibration.sources.inputs import convert, fit_sample
from engines.engine import TensorSpec
from graphs.errors import BadInput

INTEGER_TYPES = ["int8", "uint64", "uint8", "int16", "int32", "int64", "float32", "float16", "bool"]


@given(st.lists(st.integers(-(2**62), 2**62), min_size=1, max_size=8), st.sampled_from(INTEGER_TYPES))
def test_integers_are_kept_exactly_or_refused(values, wanted):
    array = np.array(values, np.int64)
    try:
        converted = convert(array, TensorSpec("x", wanted, ("n",)), "x")
    except BadInput:
        with np.errstate(all="ignore"):
            assert array.astype(wanted).astype(object).tolist() != array.tolist()
    else:
        assert converted.dtype == wanted
        assert [int(v) for v in converted] == values


@pytest.mark.parametrize(
    ("stored", "wanted"), [("uint8", "float32"), ("float64", "float32"), ("float32", "float16"), ("int32", "int64")]
)
def test_converts(stored, wanted):
    sample = fit_sample({"x": np.array([[1, 2]], stored)}, [TensorSpec("x", wanted, ("n", 2))], "d")
    assert sample["x"].dtype == wanted
    assert sample["x"].tolist() == [[1, 2]]


@pytest.mark.parametrize(
    ("values", "wanted", "words"),
    [
        (np.array([[1.0, 2.0]]), "int64", "not rounded"),
        (np.array([[1e300, 2.0]]), "float32", "do not all fit"),
        (np.array([[300, 2]]), "uint8", "do not all fit"),
        (np.array([[-1, 2]], np.int32), "uint32", "do not all fit"),
        (np.array([["a", "b"]]), "float32", "only numbers"),
        (np.array([[1j, 2]]), "float32", "only numbers"),
    ],
)
def test_refuses_lossy_conversion(values, wanted, words):
    with pytest.raises(BadInput, match=words):
        fit_sample({"x": values}, [TensorSpec("x", wanted, ("n", 2))], "d")


def test_nan_names_place_and_index():
    values = np.zeros((1, 2, 2), np.float32)
    values[0, 1, 0] = np.nan
    with pytest.raises(BadInput, match=r"d: 'x'.*1 of 4 values.*\[0, 1, 0\]"):
        fit_sample({"x": values}, [TensorSpec("x", "float32", ("n", 2, 2))], "d")


def test_a_mask_may_hold_infinities():
    values = np.array([[[0, -np.inf], [0, np.inf]]], np.float32)
    assert np.array_equal(fit_sample({"x": values}, [TensorSpec("x", "float32", ("n", 2, 2))], "d")["x"], values)


def test_an_axis_that_the_model_gives_no_length_may_be_empty_and_no_other():
    """No axes to reduce over, written as an input int64 [0]."""
    none = np.zeros(0, np.int64)
    assert fit_sample({"x": none}, [TensorSpec("x", "int64", (0,))], "d")["x"].shape == (0,)
    with pytest.raises(BadInput, match="it is empty"):
        fit_sample({"x": none}, [TensorSpec("x", "int64", ("n",), False)], "d")


def test_one_symbol_has_one_length():
    specs = [TensorSpec("ids", "int64", ("n", "seq")), TensorSpec("mask", "int64", ("n", "seq"))]
    with pytest.raises(BadInput, match=r"axis 1 of 'mask' has length 4, but 'ids' has 3"):
        fit_sample({"ids": np.ones((1, 3), np.int64), "mask": np.ones((1, 4), np.int64)}, specs, "d")


def test_big_endian_and_column_major_become_native():
    values = np.asfortranarray(np.arange(6, dtype=">f4").reshape(1, 2, 3))
    sample = fit_sample({"x": values}, [TensorSpec("x", "float32", ("n", 2, 3))], "d")["x"]
    assert sample.dtype.isnative
    assert sample.flags.c_contiguous
    assert np.array_equal(sample, values)
