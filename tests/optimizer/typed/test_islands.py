"""The search for what loses its result in half precision: it finds the nodes, and leaves the others alone."""
# ruff: noqa: E501 (models as text)

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from engines.onnxruntime.graph import simulated_outputs
from graphs.writing.node_names import name_nodes
from optimizer.passes.infer_shapes import InferShapes
from optimizer.simulation.extremes import Extremes, observe_extremes
from optimizer.simulation.run import simulated
from optimizer.typed.islands import FLOOR, HalfTyped, IslandSearch
from tests.drawing import seeded

HALF, BRAIN = ir.DataType.FLOAT16, ir.DataType.BFLOAT16
RNG = seeded(5)


def search(
    text: str,
    dtype: ir.DataType = HALF,
    *,
    observed: bool = True,
    costs: dict[str, int] | None = None,
    **feed: np.ndarray,
) -> HalfTyped:
    model = ir.from_onnx_text('<ir_version: 10, opset_import: ["" : 21]>\n' + text)
    name_nodes(model)
    InferShapes().apply(model)
    extremes = observe_extremes(model, [feed]) if observed else Extremes()
    found = IslandSearch(dtype, [feed], simulated_outputs(model, [feed]), costs or {}).type(model, extremes)
    onnx.checker.check_model(ir.to_proto(found.model), full_check=True)
    assert found.noise <= FLOOR[dtype], -10 * np.log10(found.noise)
    return found


SINE = "g (float[N] x) => (float[N] y) <float k = {2000.0}> { [first] n = Neg(x) [wide] a = Mul(n, k) [sine] s = Sin(a) [last] y = Abs(s) }"


@pytest.mark.parametrize("dtype", [HALF, BRAIN])
def test_a_large_argument_leads_back_to_what_makes_it(dtype: ir.DataType) -> None:
    kept = search(SINE, dtype, x=RNG.uniform(1, 10, 200).astype(np.float32)).kept
    assert {"first", "wide", "sine"} <= kept.keys() and "last" not in kept
    assert "loses its result" in kept["sine"] and "needed in FP32 by sine" in kept["wide"]


@pytest.mark.parametrize("reach", [3e3, 6e4])
def test_a_product_that_makes_a_large_argument_is_found(reach: float) -> None:
    """Positions times frequencies, as rotary embeddings are made; beyond 65504 / 2 the sine is FP32 by its range."""
    text = """g (float[N, 1] x) => (float[N, 4] y) <float[1, 4] f = {1.0, 0.5, 0.2, 0.1}> {
        [wide] a = MatMul(x, f) [sine] s = Sin(a) [last] y = Abs(s) }"""
    kept = search(text, x=RNG.uniform(1, reach, (64, 1)).astype(np.float32), costs={"wide": 4}).kept
    assert {"wide", "sine"} <= kept.keys() and "last" not in kept


def test_a_difference_of_large_sums_keeps_both_sums() -> None:
    text = """g (float[N] x) => (float[N] y) <float k = {50.0}> {
        [shift] a = Add(x, k) [square] q = Mul(a, a) [other] b = Mul(a, k) [difference] d = Sub(q, b) [last] y = Tanh(d) }"""
    kept = search(text, x=(RNG.standard_normal(200) / 100).astype(np.float32)).kept
    assert {"square", "other", "difference"} <= kept.keys() and "last" not in kept


def test_products_of_vanishing_numbers_are_found() -> None:
    """A sum is not looked at by itself, and loses one rounding elsewhere: here all that it adds is zero in float16."""
    text = """g (float[N, 4] x) => (float[N, 2] y) <float[4, 2] w = {1.0, 0.5, 0.2, 0.1, 1.0, 0.5, 0.2, 0.1}> {
        [small] a = MatMul(x, w) [last] y = Relu(a) }"""
    kept = search(text, x=(RNG.standard_normal((8, 4)) * 1e-12).astype(np.float32)).kept
    assert "vanishes" in kept["small"]


def test_what_loses_nothing_stays_half_precision() -> None:
    text = "g (float[N, 8] x) => (float[N, 8] y) { a = Softmax(x) b = Sigmoid(a) y = Mul(a, b) }"
    assert not search(text, x=RNG.standard_normal((4, 8)).astype(np.float32)).kept


def test_overflow_that_no_range_foretold_is_found() -> None:
    text = "g (float[N] x) => (float[N] y) <float k = {300.0}> { [up] a = Mul(x, k) [more] b = Mul(a, k) [down] c = Div(b, k) [last] y = Div(c, k) }"
    kept = search(text, observed=False, x=RNG.standard_normal(50).astype(np.float32)).kept
    assert {"more", "down"} <= kept.keys()


def test_a_branch_that_overflows_stays_fp32() -> None:
    text = """g (float[N] x, bool c) => (float[N] y) <float k = {300.0}> {
        y = If(c) <then_branch = a () => (float[N] t) { u = Mul(x, k) v = Mul(u, k) w = Div(v, k) t = Div(w, k) },
                   else_branch = b () => (float[N] e) { e = Identity(x) }> }"""
    search(text, x=RNG.standard_normal(50).astype(np.float32), c=np.array(True))


def test_the_typed_graph_gives_those_numbers_when_it_is_read_back(tmp_path: Path) -> None:
    x = RNG.uniform(1, 10, 200).astype(np.float32)
    onnx.save(ir.to_proto(search(SINE, x=x).model), tmp_path / "typed.onnx")
    with simulated(tmp_path / "typed.onnx") as engine:
        np.testing.assert_allclose(engine.infer({"x": x})["y"], np.abs(np.sin(-x * 2000)), atol=2e-3)
