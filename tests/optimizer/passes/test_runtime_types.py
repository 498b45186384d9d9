"""Operators outside the ONNX standard get the types that ONNX Runtime infers, so that half precision is typed right."""

from __future__ import annotations

import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest

from engines.engine import TensorSpec
from optimizer.passes import runtime_types
from optimizer.passes.clean import clean
from optimizer.passes.half_precision.graph import HalfPrecision

FUSED = """
<ir_version: 9, opset_import: ["" : 21, "com.microsoft" : 1]>
m (float[batch, 16] x) => (float[batch, 16] y)
  <float[16, 16] w = {WEIGHT}, int64[4] none = {0, 0, 0, 0}, float zero = {0}> {
  h = MatMul (x, w)
  p = com.microsoft.Pad <mode = "constant"> (h, none, zero)
  g = com.microsoft.Trilu (p)
  r = Relu (g)
  y = MatMul (r, w)
}
"""


@pytest.fixture
def fused() -> ir.Model:
    weights = ", ".join(["0.1"] * 256)
    return ir.from_proto(onnx.parser.parse_model(FUSED.replace("{WEIGHT}", f"{{{weights}}}")))


def test_types_behind_an_operator_of_another_domain_are_known(fused: ir.Model) -> None:
    clean(fused)
    assert all(value.dtype == ir.DataType.FLOAT for node in fused.graph for value in node.outputs)


def test_the_half_typed_graph_loads_in_onnxruntime(fused: ir.Model) -> None:
    clean(fused)
    HalfPrecision().apply(fused)
    ort.InferenceSession(ir.to_proto(fused).SerializeToString(), providers=["CPUExecutionProvider"])


def test_a_value_of_unknown_rank_is_no_scalar(fused: ir.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime gives both an empty shape; taken for a scalar, Trilu was refused and all types were undone."""
    told = {name: TensorSpec(name, "float32", ()) for name in "pg"}
    monkeypatch.setattr(runtime_types, "_as_inferred", lambda model, names: told)
    runtime_types.RuntimeTypes().apply(fused)
    assert [(v.dtype, v.shape) for n in fused.graph if n.domain for v in n.outputs] == [(ir.DataType.FLOAT, None)] * 2
