"""Inputs and outputs in the type that was asked for: graphs, data, engine and metric go together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from benchmarks.report.model import Report
from graphs.errors import BadInput
from optimizer import optimize

TEXT = """<ir_version: 10, opset_import: ["" : 21]>
g (float[N,16] x, int64[N] i) => (float[N,16] y, int64[N] j) { h = MatMul(x, w) y = Relu(h) j = Identity(i) }"""


def _run(folder: Path, scale: float = 1.0, **options: Any) -> Report:
    rng = np.random.default_rng(0)
    model = onnx.parser.parse_model(TEXT)
    model.graph.initializer.append(onnx.numpy_helper.from_array(rng.standard_normal((16, 16), np.float32), "w"))
    onnx.save(model, folder / "m.onnx")
    np.savez(folder / "d.npz", x=(scale * rng.standard_normal((24, 16))).astype(np.float32), i=np.arange(24))
    given = {"data": str(folder / "d.npz"), "loadgen": [], "targets": ["cpu"], "out": folder / "out", **options}
    return optimize(folder / "m.onnx", **given).report


def _metric(infer: Any) -> dict[str, Any]:
    """Written for float32."""
    found = infer({"x": np.ones((2, 16), np.float32), "i": np.array([1, 2])})
    assert found["y"].dtype == np.float32 and found["j"].dtype == np.int64
    return {"metric": "sum", "value": float(found["y"].sum())}


def _types(path: Path) -> list[str]:
    graph = ir.load(path).graph
    return [str(value.dtype) for value in (*graph.inputs, *graph.outputs)]


@pytest.mark.parametrize(("asked", "dtype"), [("fp16", "FLOAT16"), ("bf16", "BFLOAT16")])
def test_every_graph_has_them_and_integers_stay(tmp_path: Path, asked: str, dtype: str) -> None:
    report = _run(tmp_path, precision="fp16", io_precision=asked, evaluate=_metric)
    for path in ("model.onnx", "engines/cpu/model.onnx"):
        assert _types(tmp_path / "out" / path) == [dtype, "INT64", dtype, "INT64"], path
    assert report.accuracy is not None and report.accuracy.task is not None
    assert report.accuracy.outputs["y"].sqnr_db > 40
    casts = [node for node in ir.load(tmp_path / "out" / "model.onnx").graph if node.op_type == "Cast"]
    assert len(casts) == (0 if asked == "fp16" else 2)


def test_the_sources_own_are_kept_unless_asked(tmp_path: Path) -> None:
    _run(tmp_path, precision="fp16")
    assert _types(tmp_path / "out" / "model.onnx") == ["FLOAT", "INT64", "FLOAT", "INT64"]


def test_data_that_the_type_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot become float16"):
        _run(tmp_path, scale=1e6, precision="fp16", io_precision="fp16")


def test_an_unknown_type_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="io-precision"):
        _run(tmp_path, io_precision="int8")
