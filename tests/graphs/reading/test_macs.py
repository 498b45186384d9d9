"""MAC counts against hand-computed ones, and the share that runs in INT8."""
# ruff: noqa: E501 (models as text)

from __future__ import annotations

import onnx_ir as ir
import pytest

from graphs.reading.macs import count_macs, int8_mac_share, total_macs


def parse(text: str) -> ir.Model:
    model = ir.from_onnx_text('<ir_version: 10, opset_import: ["" : 21]>\n' + text)
    for index, node in enumerate(node for graph in model.graphs() for node in graph):
        node.name = node.name or f"n{index}"
    return model


PRODUCTS = {
    "conv": ("float[N, 4, 8, 8] x, float[6, 4, 3, 3] w", "[p] y = Conv<pads = [1, 1, 1, 1]>(x, w)", (2, 4, 8, 8), 2 * 6 * 64 * 36),
    "strided": ("float[N, 4, 8, 8] x, float[6, 4, 2, 2] w", "[p] y = Conv<strides = [2, 2]>(x, w)", (1, 4, 8, 8), 6 * 16 * 16),
    "depthwise": ("float[N, 4, 8, 8] x, float[4, 1, 3, 3] w", "[p] y = Conv<group = 4>(x, w)", (1, 4, 8, 8), 4 * 36 * 9),
    "transposed": ("float[N, 4, 8, 8] x, float[4, 6, 2, 2] w", "[p] y = ConvTranspose<strides = [2, 2]>(x, w)", (1, 4, 8, 8), 256 * 24),
    "grouped transposed": ("float[N, 4, 8, 8] x, float[4, 3, 2, 2] w", "[p] y = ConvTranspose<group = 2>(x, w)", (1, 4, 8, 8), 256 * 12),
    "deformable": ("float[N, 4, 8, 8] x, float[6, 4, 3, 3] w, float[N, 18, 6, 6] o", "[p] y = DeformConv(x, w, o)", (1, 4, 8, 8), 6 * 36 * 36),
    "einsum": ("float[N, 7, 4] x, float[N, 5, 4] w", '[p] y = Einsum<equation = "bqd, bkd -> bqk">(x, w)', (3, 7, 4), 3 * 7 * 5 * 4),
    "einsum of any rank": ("float[N, 7, 4] x, float[4, 5] w", '[p] y = Einsum<equation = "...i,ij->...j">(x, w)', (3, 7, 4), 3 * 7 * 5 * 4),
    "einsum of one": ("float[N, 7, 4] x", '[p] y = Einsum<equation = "bqd->bdq">(x)', (3, 7, 4), 0),
    "gemm": ("float[N, 4] x, float[5, 4] w", "[p] y = Gemm<transB = 1>(x, w)", (3, 4), 3 * 5 * 4),
    "gemm of columns": ("float[4, N] x, float[4, 5] w", "[p] y = Gemm<transA = 1>(x, w)", (4, 3), 3 * 5 * 4),
    "weight on the left": ("float[N, 4, 7] x, float[5, 4] w", "[p] y = MatMul(w, x)", (3, 4, 7), 3 * 7 * 5 * 4),
    "vector": ("float[N, 4] x, float[4] w", "[p] y = MatMul(x, w)", (3, 4), 3 * 4),
    "matmul": ("float[N, 7, 4] x, float[4, 5] w", "[p] y = MatMul(x, w)", (3, 7, 4), 3 * 7 * 5 * 4),
    "lstm": ("float[S, 1, 4] x, float[1, 8, 4] w, float[1, 8, 2] r", "[p] y = LSTM<hidden_size = 2>(x, w, r)", (5, 1, 4), 5 * 8 * 6),
}  # fmt: skip


@pytest.mark.parametrize("name", PRODUCTS)
def test_macs_follow_the_definitions(name: str) -> None:
    inputs, call, shape, macs = PRODUCTS[name]
    costs = count_macs(parse(f"g ({inputs}) => (float[A] y) {{ {call} }}"), {"x": shape})
    assert costs["p"].macs == macs
    assert costs["p"].known
    assert total_macs(costs) == macs


def test_shape_arithmetic_resolves_and_costs_nothing() -> None:
    model = parse(
        """g (float[N, M] x) => (float[A, B] y)
        <int64[2] p = {1, 0}, float[3, 1] w = {1, 1, 1}, int64[2] three = {-1, 3}> {
            s = Shape(x) t = Gather(s, p) r = Reshape(x, t) q = Reshape(r, three) [p] y = MatMul(q, w) }"""
    )
    costs = count_macs(model, {"x": (4, 6)})
    assert costs["p"].macs == 8 * 3
    assert all(cost.known for cost in costs.values())
    assert list(costs) == [node.name for node in model.graph], "every node, and no others"
    assert str(model.graph.inputs[0].shape) == "[N,M]", "the model itself is unchanged"


def test_bytes_tell_weights_from_activations() -> None:
    costs = count_macs(
        parse(
            "g (float[N, 4] x) => (float[N, 2] y) <float[4, 2] w = {1, 2, 3, 4, 5, 6, 7, 8}> { [p] y = MatMul(x, w) }"
        ),
        {"x": (3, 4)},
    )
    assert (costs["p"].weight_bytes, costs["p"].activation_bytes) == (32, 4 * (12 + 6))


def test_only_the_costlier_branch_counts() -> None:
    model = parse(
        """g (float[4, 4] x, bool c) => (float[4, 4] y) {
            y = If (c) <then_branch = t () => (float[4, 4] p) { [one] p = MatMul(x, x) },
                        else_branch = e () => (float[4, 4] q) { [two] r = MatMul(x, x) [three] q = MatMul(r, x) }> }"""
    )
    costs = count_macs(model, {})
    assert total_macs(costs) == 2 * 64
    assert "one" not in costs


QDQ = """g (float[N, 4] x) => (float[N, 4] y)
<int8[4, 4] w = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 8, 7, 6, 5, 4, 3, 2}}, float[4, 4] f = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 8, 7, 6, 5, 4, 3, 2}},
 float s = {{0.5}}, {kind} z = {{0}}, int8 wz = {{0}}, int64[2] p = {{-1, 4}}, int64[2] twice = {{2, 1}}, int64[4] image = {{1, 1, 4, 4}}> {{
    q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) v = DequantizeLinear(w, s, wz) {body} }}"""


@pytest.mark.parametrize(
    ("body", "share"),
    [
        ("y = MatMul(d, v)", 1.0),
        ("y = MatMul(d, f)", 0.0),
        ("y = MatMul(x, v)", 0.0),
        ("a = MatMul(d, v) y = MatMul(a, f)", 0.5),
        ("r = Reshape(d, p) t = Transpose(v) h = Cast<to = 1>(t) y = MatMul(r, h)", 1.0),
        ("c = Concat<axis = 0>(d, d) y = MatMul(c, v)", 1.0),
        ("t = Tile(d, twice) y = MatMul(t, v)", 1.0),
        ("u = Reshape(d, image) b = SpaceToDepth<blocksize = 2>(u) r = Reshape(b, p) y = MatMul(r, v)", 1.0),
        ("c = Concat<axis = 0>(d, x) y = MatMul(c, v)", 0.0),
        ("r = Relu(d) y = MatMul(r, v)", 0.0),
        ("y = Add(d, d)", 0.0),
    ],
)
@pytest.mark.parametrize("kind", ["int8", "uint8"])
def test_share_of_macs_in_int8(kind: str, body: str, share: float) -> None:
    assert int8_mac_share(parse(QDQ.format(kind=kind, body=body)), {"x": (4, 4)}) == share


def test_other_integer_types_do_not_count() -> None:
    assert int8_mac_share(parse(QDQ.format(kind="int16", body="y = MatMul(d, v)")), {"x": (4, 4)}) == 0.0


LOOP = """
<ir_version: 8, opset_import: ["" : 21]>
g (float[N,8] x, float[T,N,8] steps) => (float[N,8] v, float[N,8] z) <int64 three = {3}, bool yes = {1}, float[8,8] w = {WEIGHT}> {
    y = Loop(three, yes, x) <body = b (int64 i, bool c, float[P,8] h) => (bool on, float[P,8] o) {
        on = Identity(c)
        [inside] o = MatMul(h, w)
    }>
    [behind] v = MatMul(y, w)
    z, kept = Scan <num_scan_inputs = 1, body = s (float[P,8] h, float[P,8] at) => (float[P,8] o, float[P,8] k) {
        m = Add(h, at)
        [scanned] o = MatMul(m, w)
        k = Identity(o)
    }> (x, steps)
}
"""


def test_products_inside_loops_count_once() -> None:
    """Their shapes are those of what is handed in: a loop in float beside int8 was no work at all."""
    model = ir.from_onnx_text(LOOP.replace("WEIGHT", ", ".join(["0.1"] * 64)))
    found = count_macs(model, {"x": (5, 8), "steps": (4, 5, 8)})
    assert found["inside"].macs == found["scanned"].macs == found["behind"].macs == 5 * 8 * 8
