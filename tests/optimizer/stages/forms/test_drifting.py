"""Drift of a form in its plan: the samples it says are those it was measured on."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import onnx_ir as ir
import pytest

from benchmarks.accuracy.compare import Accuracy
from engines.engine import TensorSpec
from optimizer.precision import Dtype, NodePrecision, PrecisionPlan
from optimizer.stages.forms.accuracy_check import AccuracyCheck
from optimizer.stages.forms.drifting import SAMPLES, with_drift
from optimizer.stages.forms.typed_forms import TypedForm
from tests.optimizer.quantization.models import normal, parse

MODEL = '<ir_version: 10, opset_import: ["" : 21]> g (float[n, 64] x, float[64, 64] w) => (float[n, 64] y) {y = MatMul (x, w)}'  # fmt: skip  # noqa: E501
WEIGHT = normal(64, 64)


@pytest.mark.parametrize(
    ("batch", "there_are", "measured"), [(True, 2 * SAMPLES, SAMPLES), (True, 2, 2), (False, 9, 1)]
)
def test_the_samples_are_counted_as_they_were_run(tmp_path: Path, batch: bool, there_are: int, measured: int) -> None:
    reference, typed = parse(MODEL, {"w": WEIGHT}), parse(MODEL, {"w": WEIGHT + normal(64, 64, seed=1, scale=0.01)})
    ir.save(typed, tmp_path / "model.onnx")
    specs = (TensorSpec("x", "float32", ("n", 64), batch=batch),)
    feeds = [{"x": normal(1, 64, seed=seed)} for seed in range(there_are)]
    held_back = cast(Any, SimpleNamespace(specs=specs, samples=lambda: iter(feeds)))
    plan = PrecisionPlan({"y": NodePrecision(Dtype.FP32, "")})
    form = TypedForm(tmp_path / "model.onnx", plan, 0.0, AccuracyCheck(Accuracy(1)))
    found = with_drift(form, reference, held_back, {"y": 64 * 64}).plan
    assert found.origin is not None and found.origin.node == "y" and found.origin.samples == measured
    assert found.nodes["y"].drift_db == pytest.approx(20, abs=4)
