"""Biases survive in every session of ONNX Runtime, however large."""
# ruff: noqa: E501 (models as text)

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from optimizer.passes.half_precision import HalfPrecision
from optimizer.quantization.biases import keep_biases_apart
from optimizer.quantization.scheme import ONNXRUNTIME, TENSORRT
from tests.optimizer.quantization.models import conv_weight, normal, parse
from tests.optimizer.quantization.running import answers, feeds_for, quantized, sqnr_db

HEAD = '<ir_version: 10, opset_import: ["" : 21]>'


def biased(kind: str) -> ir.Model:
    """A result with a large bias that is quantized again, in the three ops that have one."""
    first = {
        "Conv": "a = Conv <pads=[1,1,1,1]> (x, w, b)",
        "Relu": "c = Conv <pads=[1,1,1,1]> (x, w, b) a = Relu(c)",
        "Gemm": "f = Flatten <axis=2> (x) a = Gemm <transB=1> (f, w, b)",
    }[kind]
    gemm = kind == "Gemm"
    return parse(
        f"""{HEAD} g (float{"[64,64]" if gemm else "[2,64,8,8]"} x, float{"[64,64]" if gemm else "[64,64,3,3]"} w, float[64] b, float{"[64,32]" if gemm else "[32,64,1,1]"} v) => (float y) {{
            {first.replace("f = Flatten <axis=2> (x) ", "").replace("(f,", "(x,")}
            z = {"MatMul" if gemm else "Conv"}(a, v)
            y = Tanh(z)
        }}""".replace("float y", "float[64,32] y" if gemm else "float[2,32,8,8] y"),
        {
            "w": normal(64, 64) if gemm else conv_weight(64, 64),
            "b": normal(64, scale=20.0),
            "v": normal(64, 32, scale=0.01) if gemm else conv_weight(32, 64, 1) / 10,
        },
    )


@pytest.mark.parametrize("half", [True, False], ids=["float16", "float32"])
@pytest.mark.parametrize("kind", ["Conv", "Relu", "Gemm"])
def test_large_biases_survive_in_plain_onnxruntime(kind: str, half: bool) -> None:
    model = biased(kind)
    feeds = feeds_for(model)
    reference = answers(model, feeds[:4], fused=False)
    done = quantized(model, TENSORRT, feeds).model
    if half:
        HalfPrecision().apply(done)
    before = sqnr_db(reference, answers(done, feeds[:4], fused=False))
    assert keep_biases_apart(done) == half, "float16 has no codes for these biases, int32 has"
    assert sqnr_db(reference, answers(done, feeds[:4], fused=False)) == pytest.approx(before, abs=0.1)
    assert sqnr_db(reference, answers(done, feeds[:4], fused=True)) > before - 1


@pytest.mark.parametrize("kind", ["Conv", "Relu", "Gemm"])
def test_a_bias_beyond_int32_survives_in_the_cpu_form(kind: str) -> None:
    """Data of 1e-6 and a bias of 20: its codes at the product's scale wrap around in ONNX Runtime."""
    model = biased(kind)
    feeds = [{name: array * np.float32(1e-6) for name, array in feed.items()} for feed in feeds_for(model)]
    reference = answers(model, feeds[:4], fused=False)
    done = quantized(model, ONNXRUNTIME, feeds).model
    assert sqnr_db(reference, answers(done, feeds[:4], fused=True)) > 30
