"""Inputs whose missing values the model itself tells from numbers may hold NaN; no other may."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from engines.manifest import EngineManifest
from graphs.errors import BadInput
from optimizer import optimize
from optimizer.stages.data.inputs import model_inputs

IMPUTED = """<ir_version: 8, opset_import: ["" : 17]>
    g (float[N, 2] x, float[N, 2] other) => (float[N, 2] y) <float fill = {2.0}, int64[1] axis = {1}> {
        z = Concat<axis = 1>(x, other) a, b = Split<axis = 1>(z) gone = IsNaN(a) f = Where(gone, fill, a)
        y = Add(f, other) }"""


def test_what_imputation_reads_may_be_missing() -> None:
    model = ir.from_onnx_text(
        IMPUTED.replace("z = Concat<axis = 1>(x, other) a, b = Split<axis = 1>(z)", "a = Relu(x)")
    )
    assert [spec.finite for spec in model_inputs(model)] == [True, True]
    model = ir.from_onnx_text(
        IMPUTED.replace("z = Concat<axis = 1>(x, other) a, b = Split<axis = 1>(z)", "a = Identity(x)")
    )
    assert [spec.finite for spec in model_inputs(model)] == [False, True]
    assert [spec.finite for spec in model_inputs(ir.from_onnx_text(IMPUTED))] == [False, False]


def test_a_model_that_fills_in_missing_values_is_calibrated_with_them(tmp_path: Path) -> None:
    text = IMPUTED.replace("z = Concat<axis = 1>(x, other) a, b = Split<axis = 1>(z)", "a = Identity(x)")
    onnx.save(onnx.parser.parse_model(text), tmp_path / "m.onnx")
    rng = np.random.default_rng(0)
    x, other = rng.standard_normal((2, 24, 2)).astype(np.float32)
    x[::3, 1] = np.nan
    np.savez(tmp_path / "data.npz", x=x, other=other)
    result = optimize(
        tmp_path / "m.onnx",
        precision="fp16",
        data=str(tmp_path / "data.npz"),
        targets=["cpu"],
        loadgen=(),
        out=tmp_path / "out",
    )
    assert result.report.accuracy.outputs["y"].sqnr_db > 60
    manifest = EngineManifest.load(result.bundle / "engines" / "cpu")
    assert {spec.name: spec.finite for spec in manifest.inputs} == {"x": False, "other": True}
    other[5, 0] = np.nan
    np.savez(tmp_path / "data.npz", x=x, other=other)
    with pytest.raises(BadInput, match="'other': 1 of 32 values are NaN"):
        optimize(
            tmp_path / "m.onnx",
            precision="fp16",
            data=str(tmp_path / "data.npz"),
            targets=["cpu"],
            loadgen=(),
            out=tmp_path / "out",
        )
