"""Small models, each with one way of leaving float16: by overflow, vanishing, cancellation or a large argument.

Each is a few nodes as text, with random seeded weights; ``float[...] w*`` inputs of the text become weights. All have
products at both ends, as the places where such things happen have in real networks.
"""
# ruff: noqa: E501 (models as text)

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

Array = NDArray[np.generic]
_HEADER = '<ir_version: 10, opset_import: ["" : 21]>\n'
D = 64


@dataclass(frozen=True)
class Model:
    """``text`` is the graph; ``scales`` the standard deviation of each weight, times ``1 / sqrt(fan in)`` for matrices;
    ``feed`` draws a sample of each input."""

    name: str
    text: str
    scales: dict[str, float] = field(default_factory=dict)
    feed: Callable[[np.random.Generator], dict[str, Array]] = lambda g: {"x": _normal(g, 1, 8, D)}

    def build(self) -> onnx.ModelProto:
        model = ir.from_onnx_text(_HEADER + self.text)
        rng = np.random.default_rng(7)
        for value in [v for v in model.graph.inputs if str(v.name).startswith("w")]:
            model.graph.inputs.remove(value)
            assert value.shape is not None
            shape = list(value.shape.numpy())
            fan = shape[-2] if len(shape) == 2 else int(np.prod(shape[1:])) or 1
            scale = self.scales.get(str(value.name), 1.0) / np.sqrt(fan)
            value.const_value = ir.tensor((rng.standard_normal(shape) * scale).astype(np.float32), name=value.name)
            model.graph.register_initializer(value)
        return ir.to_proto(model)


def _normal(rng: np.random.Generator, *shape: int, scale: float = 1.0, mean: float = 0.0) -> Array:
    return (rng.standard_normal(shape) * scale + mean).astype(np.float32)


def _ends(body: str, extra: str = "", constants: str = "") -> str:
    """A graph of tokens: a product, ``body`` from ``a`` to ``b``, a product."""
    return (
        f"g (float[N, 8, {D}] x, float[{D}, {D}] w_in, float[{D}, 32] w_out{extra}) => (float[N, 8, 32] y) "
        f"<int64[1] last = {{-1}}{constants}> {{ a = MatMul(x, w_in) {body} y = MatMul(b, w_out) }}"
    )


def _attention(fill: str) -> str:
    return (
        f"g (float[N, 8, {D}] x, bool[N, 1, 8] m, float[{D}, {D}] w_q, float[{D}, {D}] w_k, float[{D}, {D}] w_v) => "
        f"(float[N, 8, {D}] y) <float c = {{0.125}}, float zero = {{0.0}}, float fill = {{{fill}}}> {{ "
        "q = MatMul(x, w_q) k = MatMul(x, w_k) v = MatMul(x, w_v) t = Transpose<perm = [0, 2, 1]>(k) s = MatMul(q, t) "
        "p = Mul(s, c) h = Where(m, zero, fill) u = Add(p, h) o = Softmax<axis = -1>(u) y = MatMul(o, v) }"
    )


def _masked(rng: np.random.Generator) -> dict[str, Array]:
    shown = rng.random((1, 1, 8)) < 0.7
    shown[..., 0] = True
    return {"x": _normal(rng, 1, 8, D), "m": shown}


def _padded(rng: np.random.Generator) -> dict[str, Array]:
    x = _normal(rng, 1, 8, D)
    x[:, 5:] = 0
    return {"x": x}


def _image(scale: float, mean: float = 0.0, size: int = 32) -> Callable[[np.random.Generator], dict[str, Array]]:
    return lambda rng: {"x": _normal(rng, 1, 8, size, size, scale=scale, mean=mean)}


def _ids(rng: np.random.Generator) -> dict[str, Array]:
    return {"t": rng.integers(0, 30000, (1, 8)).astype(np.int64)}


_POSITIONS = (
    f"g (int64[N, 8] t, float[{D}, 32] w1, float[32, 16] w2) => (float[N, 8, 16] y) <int64[1] last = {{-1}}, "
    "float[32] f = {%s}> { i = Cast<to = 1>(t) u = Unsqueeze(i, last) r = Mul(u, f) s = Sin(r) c = Cos(r) "
    "e = Concat<axis = -1>(s, c) h = MatMul(e, w1) k = Relu(h) y = MatMul(k, w2) }"
) % ", ".join(f"{float(np.exp(-6 * i / 32)):.6f}" for i in range(32))

_NORM = "m = ReduceMean(a, last) d = Sub(a, m) %s v = ReduceMean(q, last) e = Add(v, eps) s = Sqrt(e) b = Div(d, s)"
_IMAGE = "g (float[N, 8, S, S] x, float[16, 8, 3, 3] w1, float[16, 10] w2) => (float[N, 10] y) "

MODELS = (
    Model(
        "feed-forward of a T5",
        _ends(
            "u = MatMul(a, w_up) g = MatMul(a, w_gate) h = Gelu(g) p = Mul(h, u) c = MatMul(p, w_down) r = Add(c, x) "
            "q = Mul(r, r) v = ReduceMean(q, last) e = Add(v, eps) s = Sqrt(e) b = Div(r, s)",
            f", float[{D}, 128] w_up, float[{D}, 128] w_gate, float[128, {D}] w_down",
            ", float eps = {1e-6}",
        ),
        {"w_up": 300, "w_gate": 300, "w_down": 3},
    ),
    Model("layer norm of large values", _ends("b = LayerNormalization(a, w_s)", f", float[{D}] w_s"), {"w_in": 400}),
    Model("layer norm by Mul", _ends(_NORM % "q = Mul(d, d)", "", ", float eps = {1e-6}"), {"w_in": 400}),
    Model(
        "layer norm by Pow",
        _ends(_NORM % "q = Pow(d, two)", "", ", float eps = {1e-6}, float two = {2}"),
        {"w_in": 400},
    ),
    Model(
        "RMS norm of large values",
        _ends(
            "q = Mul(a, a) v = ReduceMean(q, last) e = Add(v, eps) s = Sqrt(e) i = Reciprocal(s) b = Mul(a, i)",
            "",
            ", float eps = {1e-6}",
        ),
        {"w_in": 2000},
    ),
    Model(
        "RMS norm with outliers",
        _ends(
            "k = Mul(a, gain) q = Mul(k, k) v = ReduceMean(q, last) e = Add(v, eps) s = Sqrt(e) b = Div(k, s)",
            "",
            f", float eps = {{1e-6}}, float[{D}] gain = {{{', '.join('900' if i == 3 else '1' for i in range(D))}}}",
        ),
    ),
    Model("attention masked by -1e9", _attention("-1e9"), {"w_q": 3}, _masked),
    Model("attention masked by the lowest float32", _attention("-3.4028235e38"), {"w_q": 3}, _masked),
    Model("attention masked by -1e6", _attention("-1e6"), {"w_q": 3}, _masked),
    Model("attention masked by -1e4", _attention("-10000"), {"w_q": 3}, _masked),
    Model(
        "squared distances",
        f"g (float[N, 8, {D}] x, float[{D}, 16] w_in, float[16, 32] w_c, float[32, 8] w_out) => (float[N, 8, 8] y) "
        "<int64[1] last = {-1}, int64[1] first = {0}, float two = {-2.0}, float off = {40.0}, float t = {-0.05}> { "
        "z = MatMul(x, w_in) a = Add(z, off) c = Add(w_c, off) aa = Mul(a, a) cc = Mul(c, c) sa = ReduceSum(aa, last) "
        "sc = ReduceSum(cc, first) p = MatMul(a, c) q = Mul(p, two) r = Add(q, sa) d = Add(r, sc) e = Mul(d, t) "
        "b = Softmax<axis = -1>(e) y = MatMul(b, w_out) }",
        {"w_c": 4},
    ),
    Model(
        "softplus by Exp and Log",
        _ends("e = Exp(a) f = Add(e, one) b = Log(f)", "", ", float one = {1.0}"),
        {"w_in": 5},
    ),
    Model(
        "logarithm of a sum of exponentials",
        _ends("e = Exp(a) s = ReduceSum(e, last) l = Log(s) b = Sub(a, l)"),
        {"w_in": 4},
    ),
    Model(
        "L2 norm of padding, bound 1e-12",
        _ends(
            "q = Mul(a, a) t = ReduceSum(q, last) s = Sqrt(t) n = Clip(s, eps) b = Div(a, n)",
            "",
            ", float eps = {1e-12}",
        ),
        feed=_padded,
    ),
    Model(
        "ReduceL2 of padding, bound 1e-12",
        _ends("s = ReduceL2(a, last) n = Max(s, eps) b = Div(a, n)", "", ", float eps = {1e-12}"),
        feed=_padded,
    ),
    Model(
        "layer norm of padding, epsilon 1e-12",
        _ends(_NORM % "q = Mul(d, d)", "", ", float eps = {1e-12}"),
        {"w_in": 0.001},
        feed=_padded,
    ),
    Model(
        "running sums",
        _ends("c = CumSum(a, axis) d = Div(c, n) b = Relu(d)", "", ", int64 axis = {1}, float n = {4000}"),
        {"w_in": 20000},
    ),
    Model("ids to positions", _POSITIONS, {"w1": 3}, _ids),
    Model(
        "variance by E[x²] - E[x]²",
        _ends(
            "k = Add(a, off) q = Mul(k, k) eq = ReduceMean(q, last) m = ReduceMean(k, last) mm = Mul(m, m) v = Sub(eq, mm) d = Sub(k, m) s = Sqrt(v) b = Div(d, s)",
            "",
            ", float off = {50.0}",
        ),
    ),
    Model(
        "logits times 1e4 before a softmax",
        _ends("k = Mul(a, big) s = Softmax<axis = -1>(k) b = Mul(s, n)", "", ", float big = {10000}, float n = {64}"),
        {"w_in": 0.0003},
    ),
    Model(
        "division by a small temperature",
        _ends("k = Div(a, t) s = Tanh(k) b = Relu(s)", "", ", float t = {1e-5}"),
        {"w_in": 1e-5},
    ),
    Model(
        "small values, scaled back",
        _ends("k = Mul(a, t) q = Mul(k, k) s = Sqrt(q) b = Div(s, t)", "", ", float t = {1e-5}"),
    ),
    Model(
        "sum over a map, divided",
        _IMAGE.replace("S", "32")
        + "<int64[2] space = {2, 3}, float n = {1024}> { a = Conv<pads = [1, 1, 1, 1]>(x, w1) r = Relu(a) s = ReduceSum<keepdims = 0>(r, space) p = Div(s, n) y = MatMul(p, w2) }",
        feed=_image(100),
    ),
    Model(
        "mean over a large map",
        _IMAGE.replace("S", "32")
        + "<int64[2] space = {2, 3}> { a = Conv<pads = [1, 1, 1, 1]>(x, w1) r = Relu(a) p = ReduceMean<keepdims = 0>(r, space) y = MatMul(p, w2) }",
        feed=_image(300),
    ),
    Model(
        "group norm over a large map",
        _IMAGE.replace("S", "32")
        + "<int64[3] shape = {0, 4, -1}, int64[4] back = {0, 16, 32, 32}, float[4] one = {1, 1, 1, 1}, float[4] zero = {0, 0, 0, 0}> { a = Conv<pads = [1, 1, 1, 1]>(x, w1) f = Reshape(a, shape) n = InstanceNormalization(f, one, zero) r = Reshape(n, back) u = Relu(r) p = GlobalAveragePool(u) q = Flatten(p) y = MatMul(q, w2) }",
        feed=_image(200, 300),
    ),
    Model(
        "images of 0 to 255, squared",
        _IMAGE.replace("S", "32")
        + "{ s = Mul(x, x) a = Conv<pads = [1, 1, 1, 1]>(s, w1) u = Relu(a) p = GlobalAveragePool(u) q = Flatten(p) n = LpNormalization<axis = 1>(q) y = MatMul(n, w2) }",
        feed=_image(70, 128),
    ),
    Model(
        "logarithm of a spectrum's power",
        _ends(
            "i = MatMul(x, w_im) rr = Mul(a, a) ii = Mul(i, i) p = Add(rr, ii) c = Clip(p, eps) b = Log(c)",
            f", float[{D}, {D}] w_im",
            ", float eps = {1e-10}",
        ),
        {"w_in": 300, "w_im": 300},
        feed=_padded,
    ),
    Model(
        "cosine similarity times 100",
        f"g (float[N, {D}] x, float[{D}, 32] w_in, float[32, 20] w_t) => (float[N, 20] y) <int64[1] last = {{-1}}, float k = {{100}}> {{ "
        "a = MatMul(x, w_in) s = ReduceL2(a, last) n = Div(a, s) l = MatMul(n, w_t) y = Mul(l, k) }",
        feed=lambda g: {"x": _normal(g, 1, D)},
    ),
    Model(
        "a loop that adds up",
        f"g (float[N, 8, {D}] x, float[{D}, {D}] w_in, float[{D}, 32] w_out) => (float[N, 8, 32] y) "
        "<int64 n = {40}, bool go = {1}, float k = {0.0001}> { a = MatMul(x, w_in) q = Mul(a, a) "
        f"t = Loop(n, go, q) <body = l (int64 i, bool on, float[N, 8, {D}] s) => (bool more, float[N, 8, {D}] r) {{ more = Identity(on) r = Add(s, q) }}> "
        "b = Mul(t, k) y = MatMul(b, w_out) }",
        {"w_in": 60},
    ),
    Model(
        "coordinates of a large image",
        f"g (float[N, 8, {D}] x, float[{D}, {D}] w_in, float[{D}, 32] w_out) => (float[N, 8, 32] y) <float size = {{4000.0}}> {{ "
        "a = MatMul(x, w_in) u = Sigmoid(a) p = Mul(u, size) f = Floor(p) b = Sub(p, f) y = MatMul(b, w_out) }",
    ),
    Model(
        "mean over a mask of many tokens",
        "g (float[N, 3000, 16] x, int64[N, 3000] m, float[16, 16] w_in, float[16, 32] w_out) => (float[N, 32] y) <int64[1] last = {-1}, int64[1] one = {1}> { "
        "a = MatMul(x, w_in) i = Cast<to = 1>(m) u = Unsqueeze(i, last) k = Mul(a, u) s = ReduceSum<keepdims = 0>(k, one) c = ReduceSum<keepdims = 0>(u, one) b = Div(s, c) y = MatMul(b, w_out) }",
        feed=lambda g: {"x": _normal(g, 1, 3000, 16, mean=2.0), "m": (g.random((1, 3000)) < 0.9).astype(np.int64)},
    ),
    Model(
        "a residual stream that grows",
        _ends(
            "p = Relu(a) q = MatMul(p, w1) r = Add(q, p) s = Relu(r) t = MatMul(s, w2) u = Add(t, s) b = LayerNormalization(u, w_s)",
            f", float[{D}, {D}] w1, float[{D}, {D}] w2, float[{D}] w_s",
        ),
        {"w_in": 50, "w1": 50, "w2": 50},
    ),
)
