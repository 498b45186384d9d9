"""Graphs that once ended in an error or in other numbers: each is quantized in both forms, by all corrections."""
# ruff: noqa: E501 (models as text)

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest

from optimizer.quantization.codes.scheme import TENSORRT, Scheme, for_this_cpu
from tests.optimizer.quantization.models import HEAD, conv_weight, normal, parse, shared_along_two_axes, spread
from tests.optimizer.quantization.running import answers, feeds_for, quantized, sqnr_db

HEAD23 = '<ir_version: 10, opset_import: ["" : 23]>'
Model = Callable[[], ir.Model]


def average_pool() -> ir.Model:
    """Inception: a 1x1 convolution and an average pool read one tensor, both feed a Concat that is read in int8."""
    return parse(
        f"""{HEAD} g (float[4,16,8,8] x, float[16,16,1,1] a, float[16,16,1,1] b, float[16,32,1,1] c) => (float[4,16,8,8] y) {{
            r = Relu(x)
            left = Conv(r, a)
            pool = AveragePool <kernel_shape=[3,3], pads=[1,1,1,1]> (r)
            right = Conv(pool, b)
            both = Concat <axis=1> (left, right)
            y = Conv(both, c)
        }}""",
        {"a": conv_weight(16, 16, 1), "b": conv_weight(16, 16, 1, seed=1), "c": conv_weight(16, 32, 1, seed=2)},
    )


def shared_weight() -> ir.Model:
    return parse(
        f"""{HEAD} g (float[4,16,8,8] x, float[16,16,3,3] w) => (float[4,16,4,4] y) {{
            a = Conv(x, w)
            r = Relu(a)
            y = Conv(r, w)
        }}""",
        {"w": conv_weight(16, 16)},
    )


def relu_between(shifted: str = "Relu(a)") -> Model:
    """Channels of very different width behind a ReLU: they are scaled, and shifted by one number after that."""

    def build() -> ir.Model:
        wide = spread(32)
        return parse(
            f"""{HEAD} g (float[8,24,6,6] x, float[32,24,1,1] w, float[32] b, float zero, float six, float[16,32,1,1] v) => (float[8,16,6,6] y) {{
                a = Conv(x, w, b)
                r = {shifted}
                y = Conv(r, v)
            }}""",
            {
                "w": conv_weight(32, 24, 1) * wide.reshape(-1, 1, 1, 1),
                "b": normal(32) * wide,
                "zero": np.array(0, np.float32),
                "six": np.array(6, np.float32),
                "v": conv_weight(16, 32, 1, seed=1) / wide.reshape(1, -1, 1, 1),
            },
        )

    return build


def taken_names() -> ir.Model:
    """Names that quantization would like to give are there already: of weights, tensors, nodes, inside a branch."""
    model = parse(
        f"""{HEAD} g (float[4,16,8,8] x, float[16,16,3,3] w, float[16] x__scale, float[16,16,3,3] w__scale) => (float[4,16,4,4] y) {{
            x__int8 = Mul(x, x)
            x__dequantized = Sqrt(x__int8)
            w__dequantized = Conv(x__dequantized, w, x__scale)
            w__int8 = Relu(w__dequantized)
            x__Q = Conv(w__int8, w__scale)
            peak = ReduceMax <keepdims=0> (x)
            flag = Cast <to=9> (peak)
            y = If (flag) <
                then_branch = yes () => (float[4,16,4,4] w__zero) {{ w__zero = Identity(x__Q) }},
                else_branch = no () => (float[4,16,4,4] w__DQ) {{ w__DQ = Neg(x__Q) }}
            >
        }}""",
        {"w": conv_weight(16, 16), "w__scale": conv_weight(16, 16, seed=1), "x__scale": normal(16)},
    )
    for graph in model.graphs():
        for value in (*graph.initializers.values(), *(v for n in graph for v in n.outputs)):
            value.name = str(value.name).replace("__", "/")
        for node in graph:
            node.name = str(node.name).replace("__", "/")
    return model


def channels_elsewhere() -> ir.Model:
    """A MatMul contracts the width of a convolution's output: as long as its channels, and another axis."""
    return parse(
        f"""{HEAD} g (float[4,3,16,18] x, float[16,3,3,3] w, float[16,24] v) => (float[4,16,14,24] y) {{
            a = Conv(x, w)
            r = Relu(a)
            y = MatMul(r, v)
        }}""",
        {"w": conv_weight(16, 3) * spread(16).reshape(-1, 1, 1, 1), "v": normal(16, 24)},
    )


def norm_before_convolution() -> ir.Model:
    """A LayerNormalization over the length, read by a convolution along it: gains are not its channels."""
    return parse(
        f"""{HEAD} g (float[8,16,16] x, float[16] g, float[16] b, float[24,16,3] w) => (float[8,24,14] y) {{
            n = LayerNormalization <axis=-1> (x, g, b)
            c = Conv(n, w)
            y = Tanh(c)
        }}""",
        {"g": np.sqrt(spread(16)), "b": normal(16), "w": normal(24, 16, 3)},
    )


def computed_bias() -> ir.Model:
    """Branches of unlike range before a Concat, one from a convolution whose bias is computed."""
    return parse(
        f"""{HEAD} g (float[4,16,8,8] x, float[16,16,1,1] u, float[16,32,3,3] w) => (float[4,16,6,6] y) {{
            mean = ReduceMean <keepdims=0> (x)
            many = Expand(mean, n)
            up = Conv(x, u, many)
            skip = Tanh(x)
            c = Concat <axis=1> (up, skip)
            y = Conv(c, w)
        }}""".replace("float[16,32,3,3] w)", "float[16,32,3,3] w, int64[1] n)"),
        {"u": conv_weight(16, 16, 1) * 500, "w": conv_weight(16, 32), "n": np.array([16], np.int64)},
    )


def scaled_gemm() -> ir.Model:
    return parse(
        f"""{HEAD} g (float[64,32] x, float[32,48] w, float[48] b, float[48,32] v) => (float[64,32] y) {{
            a = Gemm <alpha=0.5, beta=3.0> (x, w, b)
            r = Relu(a)
            y = Gemm <alpha=2.0> (r, v)
        }}""",
        {"w": normal(32, 48) * spread(48), "b": normal(48, scale=1.0), "v": normal(48, 32)},
    )


def stack_of_matrices() -> ir.Model:
    return parse(
        f"""{HEAD} g (float[16,4,8,16] x, float[4,16,32] w) => (float[16,4,8,32] y) {{
            m = MatMul(x, w)
            y = Softmax <axis=-1> (m)
        }}""",
        {"w": normal(4, 16, 32)},
    )


def newest_opset() -> ir.Model:
    return parse(
        f"""{HEAD23} g (float[4,16,8,8] x, float[16,16,3,3] w, float[16,16,3,3] v) => (float[4,16,4,4] y) {{
            a = Conv(x, w)
            r = Relu(a)
            y = Conv(r, v)
        }}""",
        {"w": conv_weight(16, 16), "v": conv_weight(16, 16, seed=1)},
    )


def dead_channels() -> ir.Model:
    """Output channels without weights, but with a bias; inputs that are always zero; a tensor that always is."""
    w, v = conv_weight(16, 16), conv_weight(16, 16, seed=1)
    w[::2] = 0
    return parse(
        f"""{HEAD} g (float[4,16,8,8] x, float[16,16,3,3] w, float[16] b, float[16,16,3,3] v, float nothing) => (float[4,16,4,4] y) {{
            a = Conv(x, w, b)
            r = Relu(a)
            z = Mul(r, nothing)
            k = Conv(z, v)
            l = Conv(r, v)
            y = Add(k, l)
        }}""",
        {"w": w, "b": normal(16, scale=3.0), "v": v, "nothing": np.array(0, np.float32)},
    )


def weight_in_company() -> ir.Model:
    """One weight is a graph output, is read in a branch, and by a product and a sum of the main graph."""
    return parse(
        f"""{HEAD} g (float[32,32] x, float[32,32] w, float[32,32] v) => (float[32,32] y, float[32,32] w) {{
            a = MatMul(x, w)
            peak = ReduceMax <keepdims=0> (x)
            flag = Cast <to=9> (peak)
            b = If (flag) <
                then_branch = yes () => (float[32,32] p) {{ p = MatMul(a, w) }},
                else_branch = no () => (float[32,32] q) {{ q = Add(a, w) }}
            >
            s = Add(b, w)
            t = Tanh(s)
            y = MatMul(t, v)
        }}""",
        {"w": normal(32, 32), "v": normal(32, 32, seed=1)},
    )


def pixels() -> ir.Model:
    """An image in uint8 that the graph makes float, one pixel high in the end."""
    return parse(
        f"""{HEAD} g (uint8[2,3,16,16] x, float scale, float[16,3,3,3] w, float[16] b, float[32,16,14,14] v, int64[2] shape, float[32,24] u) => (float[2,24] y) {{
            f = Cast <to=1> (x)
            s = Mul(f, scale)
            a = Conv(s, w, b)
            r = Relu(a)
            p = Conv(r, v)
            l = Reshape(p, shape)
            y = Gemm(l, u)
        }}""",
        {
            "scale": np.array(1 / 255, np.float32),
            "w": conv_weight(16, 3),
            "b": normal(16),
            "v": normal(32, 16, 14, 14, scale=0.02),
            "shape": np.array([2, 32], np.int64),
            "u": normal(32, 24),
        },
    )


MODELS: dict[str, Model] = {
    found.__name__: found
    for found in (
        taken_names,
        weight_in_company,
        pixels,
        average_pool,
        shared_weight,
        shared_along_two_axes,
        channels_elsewhere,
        norm_before_convolution,
        computed_bias,
        scaled_gemm,
        stack_of_matrices,
        newest_opset,
        dead_channels,
    )
} | {"relu": relu_between(), "clip": relu_between("Clip(a, zero, six)"), "lower": relu_between("Clip(a, zero)")}


@pytest.mark.parametrize("scheme", (TENSORRT, for_this_cpu()), ids=lambda scheme: scheme.name)
@pytest.mark.parametrize("name", MODELS)
def test_it_is_quantized_and_right_in_every_runtime(name: str, scheme: Scheme) -> None:
    model = MODELS[name]()
    feeds = feeds_for(model)
    reference = answers(model, feeds[:4], fused=False)
    done = quantized(model, scheme, feeds)
    assert done.placement.quantizes
    assert not [note for note in done.notes if "undone" in note]
    simulated = answers(done.model, feeds[:4], fused=False)
    assert sqnr_db(reference, simulated) > 25
    fused = answers(done.model, feeds[:4], fused=True)
    assert sqnr_db(reference, fused) > sqnr_db(reference, simulated) - 1
