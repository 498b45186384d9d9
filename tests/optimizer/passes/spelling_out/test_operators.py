"""Operators that TensorRT lacks are spelt out by their definition, and compute what they did."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from engines.build import BuildRequest, build_engine
from engines.profile import ShapeProfile
from engines.targets.target import TARGETS
from optimizer.equivalence import compare_graphs
from optimizer.passes.clean import clean
from optimizer.passes.spelling_out.operators import SpellOut

ATTENTION = """
<ir_version: 10, opset_import: ["" : 23]>
g (float[2,3,4,8] x, float[3,8] w) => (float[2,3,4,8] y, float[2,3,4,8] k) {
    q = Relu(x)
    [attend] y, k = Attention<is_causal=1, softcap=2.0>(q, x, x)
}
"""
MASKED = """
<ir_version: 10, opset_import: ["" : 23]>
g (float[2,4,16] x, float[4,4] mask) => (float[2,4,16] y) {
    [attend] y = Attention<q_num_heads=4, kv_num_heads=4>(x, x, x, mask)
}
"""
SCORES_ONLY = """
<ir_version: 10, opset_import: ["" : 23]>
g (float[2,3,4,8] x) => (float[2,3,4,8] y, float[2,3,4,4] s) { [attend] y, , , s = Attention(x, x, x) }
"""
NORM_MEAN = """
<ir_version: 8, opset_import: ["" : 21]>
g (float[2,4,8] x, float[8] s) => (float[2,4,8] y, float[2,4,1] m) { [norm] y, m = LayerNormalization<axis=-1>(x, s) }
"""
CROPPED = """
<ir_version: 8, opset_import: ["" : 21]>
g (float[2,4,8] x) => (float[2,3,9] y) <int64[2] size = {3, 9}> { [crop] y = CenterCropPad<axes=[1,2]>(x, size) }
"""
IN_A_BRANCH = """
<ir_version: 10, opset_import: ["" : 23]>
g (float[2,3,4,8] x, bool c) => (float[2,3,4,8] y) {
    y = If(c) <
        then_branch = t () => (float[2,3,4,8] a) { [attend] a = Attention(x, x, x) },
        else_branch = e () => (float[2,3,4,8] b) { b = Neg(x) }
    >
}
"""
EYE = """
<ir_version: 8, opset_import: ["" : 21]>
g (float[n,5] x) => (float[n,5] y, int64[n,5] z, int32[n,n] w) {
    [eye] e = EyeLike<k=-1>(x)
    y = Add(x, e)
    [whole] z = EyeLike<dtype=7>(x)
    t = Transpose(x)
    p = MatMul(x, t)
    [square] w = EyeLike<dtype=6, k=2>(p)
}
"""
PLAIN_NORM = """
<ir_version: 8, opset_import: ["" : 21]>
g (float[2,4,8] x, float[8] s) => (float[2,4,8] y) { [norm] y = LayerNormalization(x, s) }
"""


def _feeds(model: ir.Model) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    return [{str(v.name): rng.normal(size=v.shape.numpy()).astype(v.dtype.numpy()) for v in model.graph.inputs}]


@pytest.mark.parametrize("text", [ATTENTION, MASKED, SCORES_ONLY, NORM_MEAN, CROPPED, IN_A_BRANCH])
def test_what_is_spelt_out_computes_the_same(text: str) -> None:
    model = ir.from_onnx_text(text)
    given = model.clone()
    result = SpellOut().apply(model)
    assert result.modified == 1
    assert not model.functions
    kinds = {node.op_type for graph in model.graphs() for node in graph}
    assert not kinds & {"Attention", "LayerNormalization", "CenterCropPad"}
    onnx.checker.check_model(ir.to_proto(model))
    found = compare_graphs(given, model, _feeds(given))
    assert found.same, found.why


def test_an_identity_of_unknown_size_is_spelt_out() -> None:
    model = ir.from_onnx_text(EYE)
    given = model.clone()
    assert SpellOut().apply(model).modified == 3
    onnx.checker.check_model(ir.to_proto(model))
    rng = np.random.default_rng(0)
    feeds = [{"x": rng.standard_normal((rows, 5)).astype(np.float32)} for rows in (1, 3, 7)]
    found = compare_graphs(given, model, feeds)
    assert found.same, found.why


def test_an_identity_of_known_size_stays() -> None:
    model = ir.from_onnx_text(EYE.replace("n,", "4,").replace("[4,n]", "[4,4]"))
    given = [node for node in model.graph if node.op_type == "EyeLike"][:2]
    SpellOut().apply(model)
    assert [node.op_type for node in given] == ["EyeLike", "EyeLike"]


def test_a_norm_that_gives_no_statistics_stays() -> None:
    model = ir.from_onnx_text(PLAIN_NORM)
    assert SpellOut().apply(model).modified == 0


@pytest.mark.skipif(importlib.util.find_spec("tensorrt_rtx_bindings") is None, reason="TensorRT-RTX is not installed")
def test_attention_spelt_out_has_a_plan(tmp_path: Path) -> None:
    model = ir.from_onnx_text(ATTENTION)
    clean(model)
    path = tmp_path / "m.onnx"
    onnx.save(ir.to_proto(model), path)
    manifest = build_engine(
        BuildRequest(path, TARGETS["a100"], ShapeProfile({}), tmp_path / "out", "fp32"), cache=False
    )
    assert manifest.bytes > 0


@pytest.mark.parametrize("aligned", [0, 1])
@pytest.mark.parametrize("shape", ["n,3,5,7", "n,3,4,5,7"])
def test_a_grid_whose_size_is_computed_is_spelt_out(shape: str, aligned: int) -> None:
    """The standard's body did not run in ONNX Runtime, so that the node stayed and no plan could be built."""
    axes = shape.count(",") - 1
    text = f"""<ir_version: 8, opset_import: ["" : 21]>
    g (float[{shape}] x, float[n,{axes},{axes + 1}] t) => (float[{"n,a,b,c,d"[: 2 * axes + 3]}] y) {{
        size = Shape(x)
        [grid] y = AffineGrid<align_corners = {aligned}>(t, size)
    }}"""
    model = ir.from_onnx_text(text)
    given = model.clone()
    assert SpellOut().apply(model).modified == 1
    assert "AffineGrid" not in {node.op_type for node in model.graph}
    rng = np.random.default_rng(0)
    lengths = [int(length) for length in shape.split(",")[1:]]
    feeds = [
        {"x": np.zeros((n, *lengths), np.float32), "t": rng.standard_normal((n, axes, axes + 1)).astype(np.float32)}
        for n in (1, 2)
    ]
    found = compare_graphs(given, model, feeds)
    assert found.same, found.why
