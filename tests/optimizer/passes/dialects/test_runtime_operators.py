"""Operators that ONNX Runtime fuses, and those of pipelines, compute the same in ONNX's own operators."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from graphs.reading.operators import is_standard
from optimizer.equivalence import compare_graphs
from optimizer.passes.dialects.runtime_operators import SpellOutRuntimeOperators, bring_home, settle_quantizers

M = "com.microsoft"
HEADER = '<ir_version: 8, opset_import: ["" : 21, "com.microsoft" : 1, "ai.onnx.ml" : 3]>'
NORMS = """g (float[B,5,8] x, float[B,5,8] s, float[8] w, float[8] v)
=> (float[B,5,8] y, float[B,5,8] sum, float[B,5,8] z) {
    y, , , sum = com.microsoft.SkipLayerNormalization <epsilon = 0.001> (x, s, w, v, v)
    z = com.microsoft.SkipSimplifiedLayerNormalization (y, x, w)
}"""
GELUS = """g (float[B,8] x, float[8] v) => (float[B,8] y) {
    a = com.microsoft.BiasGelu(x, v)
    b = com.microsoft.FastGelu(a, v)
    c = com.microsoft.QuickGelu <alpha = 1.5> (b)
    d = com.microsoft.Gelu(c)
    y = com.microsoft.FastGelu(d)
}"""
PRODUCTS = """g (float[B,4,8] x, float[B,4,8] w, float[3,8] f) => (float[B,8,8] y, float[B,3] z) {
    y = com.microsoft.FusedMatMul <transA = 1, alpha = 0.5> (x, w)
    m = ReduceMax <keepdims = 0> (x, one)
    z = com.microsoft.FusedGemm <transB = 1, activation = "LeakyRelu", activation_alpha = 0.2> (m, f)
}"""
CONV = """g (float[B,4,6,6] x, float[4,4,3,3] w, float[4] v, float[B,4,6,6] s) => (float[B,4,6,6] y) {
    a = com.microsoft.FusedConv <pads = [1,1,1,1], activation = "Clip", activation_params = [-1.0, 0.7]> (x, w, v)
    y = com.microsoft.FusedConv <pads = [1,1,1,1], activation = "Relu"> (a, w, v, s)
}"""
PACKED = """g (float[B,5,16] x, float[16,48] w, float[48] v, int32[B,5] mask, int32[B] long, float[B,2,5,5] more)
=> (float[B,5,16] y, float[B,5,16] z) {
    y = com.microsoft.Attention <num_heads = 2> (x, w, v, mask, , more)
    z = com.microsoft.Attention <num_heads = 4, unidirectional = 1> (y, w, v, long)
}"""
SEPARATE = """g (float[B,5,16] q, float[B,7,16] k, float[B,7,8] c, float[40] v, int32[B,7] mask)
=> (float[B,5,8] y, float[B,5,8] z) {
    y = com.microsoft.MultiHeadAttention <num_heads = 2, scale = 0.3> (q, k, c, v, mask)
    z = com.microsoft.MultiHeadAttention <num_heads = 4> (q, k, c)
}"""
ROTARY = """g (float[B,2,5,8] x, float[B,5,16] f, int64[B,5] at) => (float[B,2,5,8] y, float[B,5,16] z) {
    y = com.microsoft.RotaryEmbedding(x, at, cos, sin)
    z = com.microsoft.RotaryEmbedding(f, at, cos, sin)
}"""
EMBEDDED = """g (int32[B,5] ids, int32[B,5] kind, float[9,8] words, float[7,8] place, float[2,8] kinds,
float[8] w, float[8] v, int32[B,5] mask) => (float[B,5,8] y, int32[B] n, float[B,5,8] sum) {
    y, n, sum = com.microsoft.EmbedLayerNormalization <epsilon = 0.001> (ids, kind, words, place, kinds, w, v, mask)
}"""
TABLE = """g (float[B,3] x, int64[B,2] c) => (float[B,3] y, float[B,2,3] h, float[B,2] e, float[B,1] r, float[B,3] b) {
    s = ai.onnx.ml.Scaler <offset = [0.0, 1.0, 2.0], scale = [1.0, 0.5, 2.0]> (x)
    i = ai.onnx.ml.Imputer <imputed_value_floats = [7.0], replaced_value_float = 0.0> (s)
    y = ai.onnx.ml.Normalizer <norm = "L2"> (i)
    h = ai.onnx.ml.OneHotEncoder <cats_int64s = [0, 1, 2], zeros = 1> (c)
    e = ai.onnx.ml.ArrayFeatureExtractor(y, columns)
    r = ai.onnx.ml.LinearRegressor <coefficients = [1.0, 2.0, -1.0], intercepts = [0.5]> (y)
    b = ai.onnx.ml.Binarizer <threshold = 0.2> (y)
}"""
CLASSES = """g (float[B,2] x) => (int64[B] label, float[B,3] p) {
    label, p = ai.onnx.ml.LinearClassifier <classlabels_ints = [7, 8, 9],
        coefficients = [1.0, 0.1, 0.2, 1.0, -1.0, -1.0],
        intercepts = [0.0, 0.1, 0.2], post_transform = "SOFTMAX", multi_class = 1> (x)
}"""
CODES = """g (float[B,8] x, float[1] s, float[5] v) => (float[B,5] y, float[B,5] z) {
    y = com.microsoft.DynamicQuantizeMatMul(x, codes, s, zero, v)
    q, t, o = DynamicQuantizeLinear(x)
    z = com.microsoft.MatMulIntegerToFloat(q, codes, t, s, o)
}"""
CONSTANTS = {
    "codes": np.arange(-20, 20, dtype=np.int8).reshape(8, 5),
    "zero": np.array(3, np.int8),
    "one": np.array([1], np.int64),
    "columns": np.array([2, 0], np.int64),
    "cos": np.cos(np.arange(36, dtype=np.float32)).reshape(9, 4),
    "sin": np.sin(np.arange(36, dtype=np.float32)).reshape(9, 4),
}
WHOLE = {"mask": 2, "long": 6, "ids": 9, "kind": 2, "at": 9, "c": 4}
"""Integer inputs and how many values they have."""


def _model(text: str, constants: bool = True) -> ir.Model:
    model = ir.from_onnx_text(HEADER + text)
    for name, array in CONSTANTS.items() if constants else ():
        read = [
            (node, i) for node in model.graph for i, v in enumerate(node.inputs) if v is not None and v.name == name
        ]
        for node, index in read:
            node.replace_input_with(index, _constant(model, name, array))
    return model


def _constant(model: ir.Model, name: str, array: np.ndarray) -> ir.Value:
    if name not in model.graph.initializers:
        tensor = ir.tensor(array, name=name)
        model.graph.register_initializer(
            ir.Value(name=name, shape=tensor.shape, type=ir.TensorType(tensor.dtype), const_value=tensor)
        )
    return model.graph.initializers[name]


def _feeds(model: ir.Model) -> list[dict[str, np.ndarray]]:
    rng, feed = np.random.default_rng(0), {}
    for value in model.graph.inputs:
        shape = [size if isinstance(size, int) else 3 for size in value.shape or ()]
        kind = value.dtype.numpy() if value.dtype is not None else np.dtype(np.float32)
        whole = WHOLE.get(str(value.name))
        feed[str(value.name)] = (rng.integers(0, whole, shape) if whole else rng.normal(size=shape)).astype(kind)
    if "long" in feed:
        feed["long"] = np.array([5, 1, 3], np.int32)
    return [feed]


@pytest.mark.parametrize(
    "text",
    [NORMS, GELUS, PRODUCTS, CONV, PACKED, SEPARATE, ROTARY, EMBEDDED, TABLE, CLASSES, CODES],
    ids=range(11),
)
def test_what_is_spelt_out_computes_the_same(text: str) -> None:
    model = _model(text)
    given = model.clone()
    result = SpellOutRuntimeOperators().apply(model)
    assert result.modified == sum(not is_standard(node) for node in given.graph)
    assert all(is_standard(node) for node in model.graph)
    found = compare_graphs(given, model, _feeds(given))
    assert found.same, found.why


def test_a_use_that_is_not_written_stays() -> None:
    """Here a mask of its own for each query."""
    text = """g (float[B,5,16] x, float[16,48] w, float[48] v, int32[B,5,5] mask) => (float[B,5,16] y) {
        y = com.microsoft.Attention <num_heads = 2> (x, w, v, mask)
    }"""
    model = _model(text)
    assert SpellOutRuntimeOperators().apply(model).modified == 0
    assert [node.domain for node in model.graph] == [M]


def test_an_operator_that_stands_in_onnx_own_domain_is_brought_home() -> None:
    """ONNX Runtime's model builder writes it so; ONNX's checker refused the whole model."""
    model = _model(
        "g (float[B,5,8] x, float[8] w) => (float[B,5,8] y) { y = SimplifiedLayerNormalization <axis=-1> (x, w) }"
    )
    given = model.clone()
    assert bring_home(model) == ["1 x SimplifiedLayerNormalization: no operator of ONNX, spelt out"]
    found = compare_graphs(given, model, _feeds(given))
    assert found.same, found.why


def test_quantizers_of_onnx_runtime_are_onnx_own() -> None:
    model = _model("""g (float[B,5,8] x) => (float[B,5,8] y) <float s = {0.1}, uint16 z = {32768}> {
        q = com.microsoft.QuantizeLinear(x, s, z)
        y = com.microsoft.DequantizeLinear(q, s, z)
    }""")
    given = model.clone()
    assert settle_quantizers(model) == ["2 quantizers of com.microsoft taken as ONNX's own"]
    assert all(is_standard(node) for node in model.graph)
    found = compare_graphs(given, model, _feeds(given))
    assert found.same, found.why
