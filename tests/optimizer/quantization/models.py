"""Small textual models shared by the quantization tests."""
# ruff: noqa: E501 (models as text)

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from calibration.table import CalibrationTable, TensorRange
from optimizer.passes.infer_shapes import InferShapes
from tests.drawing import seeded

HEAD = '<ir_version: 10, opset_import: ["" : 21]>'
HEAD_19 = '<ir_version: 9, opset_import: ["" : 19]>'


def parse(text: str, weights: dict[str, np.ndarray] | None = None) -> ir.Model:
    """A model from ONNX text; ``weights`` become initializers in place of graph inputs of the same name.

    Node outputs are called after their nodes: node names are set to the first output's name.
    """
    model = ir.from_onnx_text(text)
    graph = model.graph
    for name, values in (weights or {}).items():
        value = next(v for v in graph.inputs if v.name == name)
        graph.inputs.remove(value)
        value.const_value = ir.Tensor(values, name=name)
        graph.register_initializer(value)
    for node in graph.all_nodes():
        node.name = f"{node.outputs[0].name}"
    InferShapes().apply(model)
    return model


def table(**amaxes: float) -> CalibrationTable:
    """A table with symmetric ranges ±amax for the named tensors."""
    ranges = {name: TensorRange(-a, a, -a, a, a, "test") for name, a in amaxes.items()}
    return CalibrationTable(ranges, "test", 1, True, "", "")


def normal(*shape: int, seed: int = 0, scale: float = 0.1) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(shape) * scale).astype(np.float32)


def conv_weight(out: int, inp: int, kernel: int = 3, seed: int = 0) -> np.ndarray:
    return normal(out, inp, kernel, kernel, seed=seed)


TWO_CONVOLUTIONS = f"""{HEAD}
g (float[n, 8, 12, 12] x, float[32, 8, 3, 3] w1, float[32] b1, float[32, 32, 3, 3] w2, float[32] b2)
  => (float[n, 32, 8, 8] y) {{
  a = Conv (x, w1, b1)
  r = Relu (a)
  y = Conv (r, w2, b2)
}}
"""
TWO_CONVOLUTIONS_COSTS = {"a": 230_400, "y": 589_824}
"""Multiply-accumulates of each for one sample."""


def two_convolutions_weights() -> dict[str, np.ndarray]:
    """Those that ``TWO_CONVOLUTIONS`` reads, by name."""
    return {"w1": conv_weight(32, 8), "b1": normal(32), "w2": conv_weight(32, 32, seed=1), "b2": normal(32, seed=2)}


def residual(second: str = "x") -> str:
    return f"""{HEAD_19} g (float[1,16,8,8] x, float[16,16,3,3] w, float[16,16,3,3] w2, float[16,16,1,1] p) => (float[1,16,8,8] out) {{
        a = Conv <pads=[1,1,1,1]> (x, w)
        r = Relu(a)
        b = Conv <pads=[1,1,1,1]> (r, w2)
        s = Conv(x, p)
        y = Add(b, {second})
        z = Relu(y)
        out = Conv(z, p)
    }}"""


def residual_model(second: str = "x"):
    weights = {"w": conv_weight(16, 16), "w2": conv_weight(16, 16, seed=1), "p": conv_weight(16, 16, 1)}
    return parse(residual(second), weights)


def normed() -> ir.Model:
    return parse(
        f"""{HEAD_19} g (float[1,64,32] x, float[32] gain, float[32] shift, float[32,48] w) => (float[1,64,48] y) {{
            n = LayerNormalization <axis=-1> (x, gain, shift)
            y = MatMul(n, w)
        }}""",
        {"gain": np.abs(normal(32, scale=1.0)) + 0.1, "shift": normal(32, scale=1.0), "w": normal(32, 48)},
    )


def shared_along_two_axes() -> ir.Model:
    return parse(
        f"""{HEAD} g (float[64,32] x, float[32,32] w) => (float[64,32] y, float[32,32] w2) {{
            a = Gemm(x, w)
            r = Relu(a)
            b = Gemm <transB=1> (r, w)
            s = Tanh(b)
            y = MatMul(s, w)
            w2 = Mul(w, w)
        }}""",
        {"w": normal(32, 32) * spread(32)},
    )


def biased(kind: str) -> ir.Model:
    """A result with a large bias that is quantized again, in the three ops that have one."""
    first = {
        "Conv": "a = Conv <pads=[1,1,1,1]> (x, w, b)",
        "Relu": "c = Conv <pads=[1,1,1,1]> (x, w, b) a = Relu(c)",
        "Gemm": "f = Flatten <axis=2> (x) a = Gemm <transB=1> (f, w, b)",
    }[kind]
    gemm = kind == "Gemm"
    return parse(
        f"""{HEAD} g (float{"[64,64]" if gemm else "[2,64,8,8]"} x, float{"[64,64]" if gemm else "[64,64,3,3]"} w, float[64] b, float{"[64,32]" if gemm else "[32,64,1,1]"} v) => (float y) {{
            {first.replace("f = Flatten <axis=2> (x) ", "").replace("(f,", "(x,")}
            z = {"MatMul" if gemm else "Conv"}(a, v)
            y = Tanh(z)
        }}""".replace("float y", "float[64,32] y" if gemm else "float[2,32,8,8] y"),
        {
            "w": normal(64, 64) if gemm else conv_weight(64, 64),
            "b": normal(64, scale=20.0),
            "v": normal(64, 32, scale=0.01) if gemm else conv_weight(32, 64, 1) / 10,
        },
    )


RNG = seeded(11)


def spread(count: int) -> np.ndarray:
    """Channel widths over three orders of magnitude."""
    return np.geomspace(0.03, 30, count).astype(np.float32)[RNG.permutation(count)]
