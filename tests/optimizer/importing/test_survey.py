"""Whose dialect a quantized model is written in."""

from __future__ import annotations

import onnx_ir as ir
import pytest

from optimizer.importing.survey import Dialect, Survey, survey
from tests.optimizer.passes.dialects.test_integer_operators import DYNAMIC, GEMM
from tests.optimizer.passes.dialects.test_integer_operators import HEAD as WITH_MICROSOFT
from tests.optimizer.passes.dialects.test_spelling import HEAD
from tests.optimizer.prequantized.test_tensorrt_repairs import MAKE_WEIGHT, PAIR_BEFORE_RELU, WEIGHT

ZERO_POINTS = PAIR_BEFORE_RELU.replace("int8 z = {0}, int8[4", "uint8 z = {3}, int8[4")
INTEGER_BIAS = ZERO_POINTS.replace("int8 wz = {0}", "int8 wz = {0}, int32[4] b = {1, 2, 3, 4}, int32 bz = {0}").replace(
    "h = Conv(d, dw)", "db = DequantizeLinear(b, s, bz) h = Conv(d, dw, db)"
)
WEIGHTS_ALONE = f"g (float[1,4,4,4] x) => (float[1,4,4,4] y) <{WEIGHT}> {{ {MAKE_WEIGHT} y = Conv(x, dw) }}"
FLOAT = "g (float[1,4] x) => (float[1,4] y) { y = Relu(x) }"


def _survey(text: str) -> Survey | None:
    return survey(ir.from_onnx_text((WITH_MICROSOFT if "microsoft" in text else HEAD) + text))


@pytest.mark.parametrize(
    ("text", "dialect", "static"),
    [
        (PAIR_BEFORE_RELU, Dialect.TENSORRT, True),
        (ZERO_POINTS, Dialect.TENSORFLOW, True),
        (INTEGER_BIAS, Dialect.ONNXRUNTIME, True),
        (GEMM, Dialect.QOPERATOR, True),
        (DYNAMIC, Dialect.DYNAMIC, False),
        (WEIGHTS_ALONE, Dialect.WEIGHTS, False),
    ],
)
def test_a_dialect_is_recognised(text: str, dialect: Dialect, static: bool) -> None:
    found = _survey(text)
    assert found is not None and (found.dialect, found.static) == (dialect, static)
    assert dialect.value in found.told()


def test_a_float_model_has_none() -> None:
    assert _survey(FLOAT) is None


def test_what_is_counted() -> None:
    found = _survey(INTEGER_BIAS)
    assert found is not None
    assert (found.activations, found.weights, found.per_tensor, found.zero_points) == (3, 1, 1, 3)
    assert found.integer_biases == 1 and found.unquantized == 0
