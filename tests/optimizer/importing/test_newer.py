"""Opsets above 21: lowered where that says the same, operators that are new written out."""
# ruff: noqa: E501 (models as text)

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from engines.onnxruntime.engine import OnnxRuntimeEngine
from optimizer.equivalence import compare_graphs
from optimizer.importing import import_model
from tests.drawing import seeded

G = seeded(0)
X = G.standard_normal((2, 4)).astype(np.float32)


def imported(text: str, folder: Path) -> tuple[ir.Model, tuple[str, ...]]:
    (folder / "m.onnx").write_bytes(onnx.parser.parse_model(text).SerializeToString())
    found = import_model(folder / "m.onnx")
    return found.model, found.notes


@pytest.mark.parametrize("opset", [22, 23, 24, 25, 26])
def test_what_only_gained_types_is_lowered(opset: int, tmp_path: Path) -> None:
    text = f"""<ir_version: 10, opset_import: ["" : {opset}]> g (float[2, 4] x) => (float[2, 2] y, int64[1] n)
    <float s = {{0.1}}, int8 z = {{0}}, int64[2] shape = {{2, -1}}> {{
        q = QuantizeLinear(x, s, z)  d = DequantizeLinear(q, s, z)  t, i = TopK <axis = 1> (d, k)
        r = Round(t)  y = Reshape(r, shape)  n = Shape <start = 1> (y)  k = Constant <value_ints = [2]> ()
    }}"""
    model, notes = imported(text, tmp_path)
    assert model.opset_imports[""] == 21 and any("lowered to 21" in note for note in notes)
    assert compare_graphs(tmp_path / "m.onnx", model, [{"x": X}]).same


def test_a_dequantized_type_that_the_scale_has_anyway_needs_no_attribute(tmp_path: Path) -> None:
    text = """<ir_version: 10, opset_import: ["" : 23]> g (float[2, 4] x) => (float[2, 4] y) <float s = {0.1}, int8 z = {0}> {
        q = QuantizeLinear <precision = 1> (x, s, z)  y = DequantizeLinear <output_dtype = 1> (q, s, z) }"""
    model, _ = imported(text, tmp_path)
    assert model.opset_imports[""] == 21
    assert not any({"output_dtype", "precision"} & set(node.attributes) for node in model.graph)


def test_what_means_something_new_keeps_the_opset(tmp_path: Path) -> None:
    text = """<ir_version: 10, opset_import: ["" : 24]> g (float[1, 2, 4, 8] c, float[1, 2, 1, 8] u, int64[1] i) => (float[1, 2, 4, 8] y) {
        y = TensorScatter(c, u, i) }"""
    model, notes = imported(text, tmp_path)
    assert model.opset_imports[""] == 24 and any("opset 24 kept: TensorScatter" in note for note in notes)


@pytest.mark.parametrize(
    ("body", "inputs", "outputs", "gone"),
    [
        ("y = RMSNormalization <epsilon = 1e-4> (x, w)", "float[2, 4] x, float[4] w", "float[2, 4] y", "RMSNormalization"),
        ("y = Attention <is_causal = 1> (q, k, k)", "float[1, 2, 3, 8] q, float[1, 2, 3, 8] k", "float[1, 2, 3, 8] y", "Attention"),
        ("y, , , s = Attention <qk_matmul_output_mode = 0> (q, k, k)", "float[1, 2, 3, 8] q, float[1, 2, 3, 8] k", "float[1, 2, 3, 8] y, float[1, 2, 3, 3] s", "Attention"),
        ("y = RotaryEmbedding(q, c, c)", "float[1, 2, 3, 8] q, float[1, 3, 4] c", "float[1, 2, 3, 8] y", "RotaryEmbedding"),
    ],
    ids=["rms norm", "attention", "attention with scores", "rotary"],
)  # fmt: skip
def test_new_operators_are_written_out(body: str, inputs: str, outputs: str, gone: str, tmp_path: Path) -> None:
    text = f'<ir_version: 10, opset_import: ["" : 23]> g ({inputs}) => ({outputs}) {{ {body} }}'
    if ", ," in body:
        text = text.replace("y, , , s = ", 'y, "", "", s = ')
    model, notes = imported(text, tmp_path)
    assert model.opset_imports[""] == 21 and f"{gone} written out as the operators it consists of" in notes
    feed = {
        v.name: G.standard_normal([int(d) for d in v.shape]).astype(np.float32) for v in model.graph.inputs if v.shape
    }
    found = compare_graphs(tmp_path / "m.onnx", model, [{str(name): array for name, array in feed.items()}])
    assert found.same, found.why


def test_swish_which_no_runtime_has(tmp_path: Path) -> None:
    text = (
        '<ir_version: 10, opset_import: ["" : 24]> g (float[2, 4] x) => (float[2, 4] y) { y = Swish <alpha = 2.0> (x) }'
    )
    model, _ = imported(text, tmp_path)
    plain = '<ir_version: 10, opset_import: ["" : 21]> g (float[2, 4] x) => (float[2, 4] y) <float a = {2}> { b = Mul(a, x) s = Sigmoid(b) y = Mul(x, s) }'
    assert compare_graphs(onnx.parser.parse_model(plain).SerializeToString(), model, [{"x": X}]).same


def test_flex_attention_is_written_out_with_its_own_graph(tmp_path: Path) -> None:
    """ONNX Runtime has no operator of ONNX's preview domain: numpy says what is right."""
    model, notes = imported(
        """<ir_version: 13, opset_import: ["" : 26, "ai.onnx.preview" : 1]>
        g (float[1, 2, 3, 8] q, float[1, 2, 3, 8] k) => (float[1, 2, 3, 8] y) {
            y = ai.onnx.preview.FlexAttention <score_mod = m (float[B, H, L, S] s) => (float[B, H, L, S] o) { o = Tanh(s) }> (q, k, k)
        }""",
        tmp_path,
    )
    q, k = G.standard_normal((2, 1, 2, 3, 8)).astype(np.float32)
    raised = np.exp(np.tanh(q @ k.swapaxes(2, 3) / np.sqrt(8)))
    wanted = raised / raised.sum(axis=3, keepdims=True) @ k
    with OnnxRuntimeEngine(ir.to_proto(model).SerializeToString()) as engine:
        np.testing.assert_allclose(engine.infer({"q": q, "k": k})["y"], wanted, atol=1e-5)
    assert "FlexAttention written out as the operators it consists of" in notes
    assert dict(model.opset_imports) == {"": 21}
