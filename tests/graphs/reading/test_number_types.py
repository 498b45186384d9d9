"""Codes of every type, beside ml_dtypes and beside what ONNX Runtime's QuantizeLinear makes."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.table import TensorRange
from engines.onnxruntime.graph import running
from graphs.reading.number_types import E2M1, E4M3, INT4, INT8, SIGNED, UNSIGNED, NumberType
from optimizer.quantization.codes.scheme import FP8, TENSORRT

ALL = [INT8, INT4, E4M3, E2M1]
FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)


def numbers_of(kind: NumberType) -> np.ndarray:
    """Every finite number that a code may be, sorted."""
    if kind.whole:
        return np.arange(kind.lowest, kind.highest + 1, dtype=np.float32)
    bits = 1 << (4 if kind is E2M1 else 8)
    every = np.arange(bits, dtype=np.uint8).view(kind.numpy).astype(np.float32)
    return np.unique(every[np.isfinite(every)])


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.dtype.name)
def test_magnitudes_are_those_of_the_numbers(kind: NumberType) -> None:
    numbers = numbers_of(kind)
    both = numbers[np.isin(-numbers, numbers)]
    np.testing.assert_array_equal(kind.magnitudes, both[both >= 0])


def test_unsigned_codes_lie_around_their_middle() -> None:
    np.testing.assert_array_equal(UNSIGNED.magnitudes, SIGNED.magnitudes)


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.dtype.name)
def test_the_nearest_number_is_taken(kind: NumberType) -> None:
    numbers = numbers_of(kind)
    steps = np.random.default_rng(0).normal(0, kind.highest / 2, 2000).astype(np.float32)
    rounded = steps.copy()
    kind.round(rounded)
    least = np.abs(numbers[None] - steps[:, None]).min(axis=1)
    assert np.isin(rounded, numbers).all()
    assert np.allclose(np.abs(rounded - steps), least, rtol=1e-6)


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.dtype.name)
def test_ties_go_to_the_even_code_and_ends_saturate(kind: NumberType) -> None:
    numbers = numbers_of(kind)
    middles = (numbers[1:] + numbers[:-1]) / 2
    rounded = middles.astype(np.float32)
    kind.round(rounded)
    codes = rounded.astype(kind.numpy)
    if kind.whole:
        assert not (codes.astype(np.int32) % 2).any()
    else:
        assert not (codes.view(np.uint8) % 2).any(), "the last bit of the significand is 0"
    ends = np.float32([-1e30, 1e30, -kind.highest * 1.5, kind.highest * 1.5])
    kind.round(ends)
    assert ends.tolist() == [kind.lowest, kind.highest, kind.lowest, kind.highest]


@given(st.lists(FINITE, min_size=1, max_size=32))
@settings(max_examples=50, deadline=None)
def test_small_floats_are_those_of_ml_dtypes(values: list[float]) -> None:
    steps = np.float32(values)
    found = E4M3.codes(steps)
    wanted = np.clip(steps, -448, 448).astype(ml_dtypes.float8_e4m3fn)
    assert found.tobytes() == wanted.tobytes()


@pytest.mark.parametrize("kind", [E4M3, INT8, INT4], ids=lambda kind: kind.dtype.name)
def test_codes_are_those_of_onnx_runtime(kind: NumberType) -> None:
    model = ir.from_onnx_text(
        f"""<ir_version: 10, opset_import: ["" : 21]> g (float[N] x) => (float[N] y) <float scale = {{0.037}}> {{
            codes = QuantizeLinear <output_dtype = {kind.dtype.value}> (x, scale)
            y = DequantizeLinear (codes, scale)
        }}"""
    )
    scale = np.float32(0.037)
    x = np.random.default_rng(1).normal(0, 8, 4096).astype(np.float32)
    x[:6] = 0, -0.0, 1e6, -1e6, 0.037 * 2.5, -0.037 * 3.5
    with running(model, fuse_qdq=False) as engine:
        found = engine.infer({"x": x})["y"]
    steps = x / scale
    full = NumberType(kind.dtype, -128, 127) if kind is INT8 else kind
    full.round(steps)
    assert np.array_equal(found, steps * scale)


def test_a_range_becomes_a_scale_by_the_largest_number() -> None:
    value, found = ir.Value(name="x"), TensorRange(-3.0, 4.48, -3.0, 4.48, 4.48, "minmax")
    assert FP8.static.quantizer(value, found).scale == pytest.approx(0.01, rel=1e-3)
    assert TENSORRT.static.quantizer(value, found).scale == pytest.approx(4.48 / 127, rel=1e-3)
