"""One way from a float graph to a typed one: with data, and by structure alone."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from engines.onnxruntime.graph import simulated_outputs
from optimizer.precision import Dtype
from optimizer.quantization.codes.scheme import ONNXRUNTIME, TENSORRT, Scheme
from optimizer.quantization.observing.calibrating import Calibrator
from optimizer.quantization.settings import QuantizeSettings
from optimizer.settings.options import Precision
from optimizer.typed.graph import type_by_structure, type_graph
from tests.optimizer.quantization.models import conv_weight, normal, parse

NET = """
<ir_version: 10, opset_import: ["" : 21]>
g (float[n, 16, 8, 8] x, float[32, 16, 3, 3] w) => (float[n, 32, 6, 6] y) {
  a = Conv (x, w)
  r = Relu (a)
  y = Sigmoid (r)
}
"""
COSTS = {"a": 165_888}
FEEDS = [{"x": normal(1, 16, 8, 8, seed=seed, scale=1.0)} for seed in range(24)]


def net() -> ir.Model:
    return parse(NET, {"w": conv_weight(32, 16)})


def typed(precision: Precision, scheme: Scheme = TENSORRT):
    settings = QuantizeSettings(scheme=scheme, costs=COSTS)
    return type_graph(net(), precision, lambda _: FEEDS, settings, Calibrator(lambda: FEEDS, False, ("mse",)))


def code_types(model: ir.Model) -> set[ir.DataType | None]:
    return {node.outputs[0].dtype for node in model.graph if node.op_type == "QuantizeLinear"}


@pytest.mark.parametrize(
    ("scheme", "codes", "rest"),
    [(TENSORRT, ir.DataType.INT8, Dtype.FP16), (ONNXRUNTIME, ir.DataType.UINT8, Dtype.FP32)],
)
def test_each_form_is_in_its_runtimes_dialect(scheme: Scheme, codes: ir.DataType, rest: Dtype) -> None:
    found = typed(Precision.INT8, scheme)
    assert code_types(found.model) == {codes}
    assert found.plan.nodes["a"].dtype is Dtype.INT8 and found.plan.nodes["y"].dtype is rest
    assert found.table is not None and "x" in found.table.tensors
    wanted, got = (simulated_outputs(model, FEEDS[:1])[0]["y"] for model in (net(), found.model))
    assert np.abs(wanted - got.astype(np.float32)).max() < 0.1 * np.abs(wanted).max()


def test_a_precision_without_int8_calibrates_nothing() -> None:
    found = typed(Precision.FP16)
    assert found.table is None and {node.dtype for node in found.plan.nodes.values()} == {Dtype.FP16}
    assert net().graph.initializers["w"].dtype is ir.DataType.FLOAT
    assert found.model.graph.initializers["w"].dtype is ir.DataType.FLOAT16


def test_structure_alone_gives_the_same_types() -> None:
    model = net()
    made, found = type_by_structure(model, Precision.INT8, COSTS), typed(Precision.INT8).model
    for op in ("QuantizeLinear", "DequantizeLinear", "Conv"):
        assert [n.outputs[0].dtype for n in made.graph if n.op_type == op] == [
            n.outputs[0].dtype for n in found.graph if n.op_type == op
        ]
    assert not any(node.op_type == "QuantizeLinear" for node in model.graph)
