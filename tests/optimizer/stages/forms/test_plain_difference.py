"""model.onnx in ONNX Runtime's default session: told where it answers otherwise than hardware would."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import onnx_ir as ir

from engines.engine import TensorSpec
from optimizer.passes.half_precision.graph import HalfPrecision
from optimizer.quantization.codes.scheme import TENSORRT
from optimizer.quantization.insertion.biases import keep_biases_apart
from optimizer.stages.forms.accuracy_check import AccuracyChecker
from tests.optimizer.quantization.models import biased
from tests.optimizer.quantization.running import feeds_for, quantized


def test_a_bias_that_onnxruntime_rewrites_is_told_and_one_kept_apart_is_not(tmp_path: Path) -> None:
    model = biased("Conv")
    feeds = feeds_for(model, 8)
    original, typed = tmp_path / "original.onnx", tmp_path / "model.onnx"
    ir.save(model, original)
    found = quantized(model, TENSORRT, feeds).model
    HalfPrecision().apply(found)
    ir.save(found, typed)
    specs = (TensorSpec("x", "float32", (2, 64, 8, 8)),)
    held_back = cast(Any, SimpleNamespace(specs=specs, samples=lambda: iter(feeds[:2])))
    with AccuracyChecker(original, held_back, None, 0.01) as checker:
        assert "default session" in checker.plain_difference(typed)
        keep_biases_apart(found)
        ir.save(found, typed)
        assert checker.plain_difference(typed) == ""
