"""Biases survive in every session of ONNX Runtime, however large."""

from __future__ import annotations

import numpy as np
import pytest

from optimizer.passes.half_precision.graph import HalfPrecision
from optimizer.quantization.codes.scheme import ONNXRUNTIME, TENSORRT
from optimizer.quantization.insertion.biases import keep_biases_apart
from tests.optimizer.quantization.models import biased
from tests.optimizer.quantization.running import answers, feeds_for, quantized, sqnr_db


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
