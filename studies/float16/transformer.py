"""A transformer with overflows planted where real ones have them, for the count of what stays FP32.

A pre-norm encoder of ``LAYERS`` layers: attention over four heads, a gated feed-forward. Planted, as reported of T5 and
other models in FP16: in one layer the gate's product is beyond 65504; the residual stream behind it holds a channel of
1e5 to the end; one layer's attention scores are scaled by 1e5 before a softmax divides them by as much again.

    python -m studies.float16.transformer FILE.onnx

writes it, for ``optimize``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import onnx

from studies.float16.models import Array

LAYERS, D, HEADS, TOKENS = 6, 64, 4, 12
_PLANTED = LAYERS // 2
_HEADER = f'<ir_version: 10, opset_import: ["" : 21]> g (float[N,{TOKENS},{D}] x) => (float[N,{TOKENS},{D}] y) {{ '


def transformer() -> onnx.ModelProto:
    """Seeded weights; input ``x`` float [N, 12, 64], output ``y`` of the same shape."""
    lines = ["h0 = Identity(x)"]
    weights: dict[str, Array] = {}
    rng = np.random.default_rng(11)
    for layer in range(LAYERS):
        lines += _layer(layer, weights, rng)
    lines.append(f"y = LayerNormalization<axis = -1>(h{LAYERS}, g_out, b_out)")
    weights |= {"g_out": np.ones(D, np.float32), "b_out": np.zeros(D, np.float32)}
    constants = {
        "heads": np.array([0, 0, HEADS, D // HEADS]),
        "flat": np.array([0, 0, D]),
        "root": np.float32((D // HEADS) ** -0.5),
        "up": np.float32(1e5),
        "down": np.float32(1e-5),
    }
    model = onnx.parser.parse_model(_HEADER + " ".join(lines) + " }")
    for name, array in {**weights, **constants}.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(array), name))
    return model


def _layer(layer: int, weights: dict[str, Array], rng: np.random.Generator) -> list[str]:
    i, planted = str(layer), layer == _PLANTED

    def matrix(name: str, rows: int, columns: int, scale: float = 1.0) -> None:
        weights[f"{name}{i}"] = (rng.standard_normal((rows, columns)) * scale / np.sqrt(rows)).astype(np.float32)

    for name in ("wq", "wk", "wv", "wo"):
        matrix(name, D, D)
    for name in ("wu", "wg"):
        matrix(name, D, 4 * D, 400.0 if planted else 1.0)
    matrix("wd", 4 * D, D, 1e-4 if planted else 1.0)
    for name in ("g1", "g2"):
        weights[f"{name}{i}"] = np.ones(D, np.float32)
    for name in ("b1", "b2"):
        weights[f"{name}{i}"] = np.zeros(D, np.float32)
    scores = [f"s{i} = Mul(m{i}, root)"]
    if layer == 1:  # large scores, brought back before the softmax
        scores = [f"t{i} = Mul(m{i}, up)", f"u{i} = Mul(t{i}, root)", f"s{i} = Mul(u{i}, down)"]
    heads = [
        line
        for name in "qkv"
        for line in (
            f"{name}m{i} = MatMul(n{i}, w{name}{i})",
            f"{name}r{i} = Reshape({name}m{i}, heads)",
            f"{name}{i} = Transpose<perm = [{'0, 2, 3, 1' if name == 'k' else '0, 2, 1, 3'}]>({name}r{i})",
        )
    ]
    return [
        f"n{i} = LayerNormalization<axis = -1>(h{i}, g1{i}, b1{i})",
        *heads,
        f"m{i} = MatMul(q{i}, k{i})",
        *scores,
        f"p{i} = Softmax<axis = -1>(s{i})",
        f"c{i} = MatMul(p{i}, v{i})",
        f"ct{i} = Transpose<perm = [0, 2, 1, 3]>(c{i})",
        f"cf{i} = Reshape(ct{i}, flat)",
        f"o{i} = MatMul(cf{i}, wo{i})",
        f"a{i} = Add(h{i}, o{i})",
        f"f{i} = LayerNormalization<axis = -1>(a{i}, g2{i}, b2{i})",
        f"fu{i} = MatMul(f{i}, wu{i})",
        f"fg{i} = MatMul(f{i}, wg{i})",
        f"fs{i} = Sigmoid(fg{i})",
        f"fw{i} = Mul(fg{i}, fs{i})",
        f"fm{i} = Mul(fu{i}, fw{i})",
        f"fd{i} = MatMul(fm{i}, wd{i})",
        f"h{layer + 1} = Add(a{i}, fd{i})",
    ]


def sample(rng: np.random.Generator) -> dict[str, Array]:
    return {"x": rng.standard_normal((1, TOKENS, D)).astype(np.float32)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="the ONNX file to write")
    onnx.save(transformer(), parser.parse_args().file)
