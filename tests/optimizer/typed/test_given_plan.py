"""A graph typed by a plan that was given: bit for bit the same by its own, and different in what was edited alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import onnx_ir as ir
import pytest

from optimizer.precision import Dtype, PrecisionPlan
from optimizer.quantization.codes.scheme import ONNXRUNTIME, TENSORRT, Scheme
from optimizer.quantization.corrections.fallback import Allowance
from optimizer.quantization.corrections.sensitivity import Sensitivity
from optimizer.quantization.observing.calibrating import Calibrator
from optimizer.quantization.prepared import Prepared
from optimizer.quantization.quantize import prepare
from optimizer.quantization.settings import QuantizeSettings
from optimizer.settings.asked_plan import BY_THE_PLAN, AskedPlan
from optimizer.settings.options import Precision
from optimizer.typed.graph import GraphTyper, TypedGraph
from tests.optimizer.quantization.models import conv_weight, normal, parse

NET = """
<ir_version: 10, opset_import: ["" : 21]>
g (float[n, 16, 8, 8] x, float[16, 16, 3, 3] w, float[16, 16, 3, 3] v, float[16, 16, 3, 3] u) => (float[n, 16, 8, 8] y)
<float big = {30000.0}> {
  a = Conv <pads = [1, 1, 1, 1]> (x, w)
  r = Relu (a)
  b = Conv <pads = [1, 1, 1, 1]> (r, v)
  s = Add (b, r)
  c = Conv <pads = [1, 1, 1, 1]> (s, u)
  e = Exp (c)
  h = Mul (e, big)
  m = Mul (h, big)
  d = Div (m, big)
  k = Div (d, big)
  y = Sigmoid (k)
}
"""
COSTS = dict.fromkeys("abc", 147_456)
FEEDS = [{"x": normal(1, 16, 8, 8, seed=seed, scale=1.0)} for seed in range(16)]


def net(seed: int = 0) -> ir.Model:
    return parse(NET, {name: conv_weight(16, 16, seed=seed + number) for number, name in enumerate("wvu")})


def prepared(scheme: Scheme, model: ir.Model) -> Prepared:
    settings = QuantizeSettings(scheme=scheme, costs=COSTS)
    return prepare(model, Calibrator(lambda: FEEDS, False, ("mse",)), settings, lambda _: None)


@pytest.fixture(scope="module", params=[TENSORRT, ONNXRUNTIME], ids=["tensorrt", "cpu"])
def ready(request: pytest.FixtureRequest) -> Prepared:
    return prepared(request.param, net())


@pytest.fixture(scope="module")
def tensorrt() -> Prepared:
    return prepared(TENSORRT, net())


def typed(
    ready: Prepared | None, asked: AskedPlan | None, precision: Precision = Precision.INT8, unnamed: str = ""
) -> TypedGraph:
    typer = GraphTyper(net(), precision, lambda _: iter(FEEDS), COSTS, asked=asked)
    if ready is None:
        return typer.typed(None)
    followed = ready if asked is None else ready.following(asked, unnamed)
    return typer.typed(followed.quantized(Allowance()))


def edited(plan: PrecisionPlan, **changes: str) -> AskedPlan:
    return AskedPlan.of({name: changes.get(name, node.dtype.value) for name, node in plan.nodes.items()})


def dtypes(plan: PrecisionPlan) -> dict[str, Dtype]:
    return {name: node.dtype for name, node in plan.nodes.items()}


def stored(model: ir.Model) -> bytes:
    return ir.to_proto(model).SerializeToString(deterministic=True)


def changes(before: Mapping[str, Dtype], after: Mapping[str, Dtype]) -> dict[str, str]:
    return {name: dtype.value for name, dtype in after.items() if before[name] is not dtype}


def test_by_its_own_plan_a_graph_is_the_same_bit_for_bit(ready: Prepared) -> None:
    first = typed(ready, None)
    again = typed(ready, AskedPlan.of_plan(first.plan))
    assert dtypes(again.plan) == dtypes(first.plan) and Dtype.INT8 in dtypes(first.plan).values()
    assert Dtype.FP32 in dtypes(first.plan).values()
    assert stored(again.model) == stored(first.model)


def test_one_node_edited_changes_that_node(tensorrt: Prepared) -> None:
    first = typed(tensorrt, None)
    found = typed(tensorrt, edited(first.plan, c="fp16"))
    assert changes(dtypes(first.plan), dtypes(found.plan)).pop("c") == "fp16"
    assert found.plan.nodes["c"].reason == BY_THE_PLAN
    (product,) = (node for node in found.model.graph if node.name == "c")
    assert product.inputs[1] is not None and product.inputs[1].dtype is ir.DataType.FLOAT16
    assert product.inputs[1].producer() is None, "its weight is not quantized"


def test_fp32_is_fp32_and_its_neighbours_stay(tensorrt: Prepared) -> None:
    first = typed(tensorrt, None)
    assert first.plan.nodes["y"].dtype is Dtype.FP16
    found = typed(tensorrt, edited(first.plan, y="fp32", b="fp32"))
    after = changes(dtypes(first.plan), dtypes(found.plan))
    assert {name: after.pop(name) for name in ("y", "b")} == {"y": "fp32", "b": "fp32"}
    assert not set(after.values()) - {"fp16"}, "the Add that fused with b is not int8 any more"
    for node in found.model.graph:
        if node.name in ("y", "b"):
            assert {value.dtype for value in node.inputs if value is not None} == {ir.DataType.FLOAT}


def test_what_cannot_be_is_not_done_and_says_why(tensorrt: Prepared) -> None:
    asked = AskedPlan.of({"y": "int8", "h": "fp16", "m": "fp16", "c": "int8"})
    found = typed(tensorrt, asked)
    told = asked.followed(found.plan, "model.onnx", halves=True)
    assert found.plan.nodes["c"].dtype is Dtype.INT8 and "c" not in told.refused
    assert "rule 9" in told.refused["y"] or "rule 12" in told.refused["y"]
    assert "overflow" in told.refused["m"], told.refused


def test_int8_that_is_asked_for_is_not_taken_out_for_its_error(tensorrt: Prepared) -> None:
    noisy = replace(tensorrt, found=(Sensitivity("a", 0.2), Sensitivity("b", 0.1)), judge=None)
    wide = Allowance(share=1.0)
    assert noisy.quantized(wide).fallen_back == {"a", "b"}
    found = noisy.following(AskedPlan.of({"a": "int8"})).quantized(wide)
    assert found.plan.nodes["a"].dtype is Dtype.INT8
    assert found.fallen_back == {"b"}, "what the plan does not name is decided as usual"


def test_a_few_int8_products_in_a_half_precision_run(tensorrt: Prepared) -> None:
    reason = "asked for with --precision fp16"
    found = typed(tensorrt, AskedPlan.of({"b": "int8"}), Precision.FP16, reason)
    assert {name for name in COSTS if found.plan.nodes[name].dtype is Dtype.INT8} == {"b"}
    assert found.plan.nodes["a"].reason == reason


def test_a_few_half_precision_nodes_in_an_fp32_run() -> None:
    found = typed(None, AskedPlan.of({"a": "fp16", "r": "fp16"}), Precision.FP32)
    assert {name for name, node in found.plan.nodes.items() if node.dtype is Dtype.FP16} == {"a", "r"}
    halves = {v.name for v in found.model.graph.initializers.values() if v.dtype is ir.DataType.FLOAT16}
    assert halves == {"w"}


def test_on_a_cpu_float_is_fp32_and_what_lies_between_products_follows_them() -> None:
    ready = prepared(ONNXRUNTIME, net())
    first = typed(ready, None)
    assert first.plan.nodes["s"].dtype is Dtype.INT8
    half = typed(ready, edited(first.plan, s="fp16"))
    assert dtypes(half.plan) == dtypes(first.plan)
    wide = typed(ready, edited(first.plan, s="fp32", c="fp16"))
    assert wide.plan.nodes["s"].dtype is wide.plan.nodes["c"].dtype is Dtype.FP32
    assert wide.plan.nodes["a"].dtype is Dtype.INT8


def test_a_retrained_successor_is_typed_alike() -> None:
    first = typed(prepared(TENSORRT, net()), None)
    asked = edited(first.plan, c="fp16")
    successor = prepared(TENSORRT, net(seed=50)).following(asked)
    plan = successor.quantized(Allowance()).plan
    assert {name for name in COSTS if plan.nodes[name].dtype is Dtype.INT8} == {
        name for name in COSTS if asked.nodes[name].dtype is Dtype.INT8
    }
    assert np.isfinite([node.macs for node in plan.nodes.values()]).all()
