"""A decoder like GPT-2 with random weights, in ONNX: ``python -m studies.formats.decoder OUT.onnx``.

Embeddings, causal attention, GELU and layer norms as in GPT-2; no cache of keys. Weights are normal as GPT-2 begins
training, but for two things that training leaves in every such model and that rounding of weights stands or falls with:
a few channels of the norms are large, and the residual stream lies near a subspace, so that inputs are correlated.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from engines.engine import Feed
from graphs.storage.saving import save_model
from optimizer.passes.infer_shapes import InferShapes

OUTLIERS, LARGE = 0.02, 6.0
"""Part of a norm's channels that is large, and how large; trained decoders have 1 to 3 % of 5 to 20 (Dettmers 2022)."""
RANK = 0.25
"""Dimensions of the subspace that embeddings mostly lie in, of the width."""


@dataclass(frozen=True)
class Shape:
    layers: int = 4
    width: int = 384
    heads: int = 6
    vocabulary: int = 2048
    context: int = 128


def make_decoder(shape: Shape = Shape(), seed: int = 0) -> ir.Model:
    """``ids`` int64 [batch, tokens] to ``logits`` [batch, tokens, vocabulary]."""
    rng = np.random.default_rng(seed)
    text, weights = _text(shape), dict(_weights(shape, rng))
    model = ir.from_onnx_text(text)
    for name, array in weights.items():
        value = next(value for value in model.graph.inputs if value.name == name)
        model.graph.inputs.remove(value)
        value.const_value = ir.Tensor(array, name=name)
        model.graph.register_initializer(value)
    for node in model.graph:
        node.name = str(node.outputs[0].name)
    InferShapes().apply(model)
    return model


def make_samples(count: int, shape: Shape = Shape(), seed: int = 1) -> list[Feed]:
    """Sequences of token ids, frequent ones as frequent as in text (Zipf's law)."""
    rng = np.random.default_rng(seed)
    chance = 1 / np.arange(1, shape.vocabulary + 1)
    draw = rng.choice(shape.vocabulary, (count, 1, shape.context // 2), p=chance / chance.sum())
    return [{"ids": ids.astype(np.int64)} for ids in draw]


def _weights(shape: Shape, rng: np.random.Generator) -> Iterator[tuple[str, NDArray[np.generic]]]:
    width, inner = shape.width, 4 * shape.width

    def normal(*sizes: int, scale: float = 0.02) -> NDArray[np.float32]:
        return (rng.standard_normal(sizes) * scale).astype(np.float32)

    subspace = normal(int(RANK * width), width, scale=1.0)
    yield "tokens", normal(shape.vocabulary, len(subspace), scale=0.02) @ subspace + normal(shape.vocabulary, width)
    yield "places", normal(shape.context, width, scale=0.01)
    for layer in range(shape.layers):
        for norm in ("a", "b"):
            yield f"gain{norm}{layer}", _gain(width, rng)
            yield f"shift{norm}{layer}", normal(width)
        yield f"qkv{layer}", normal(width, 3 * width, scale=0.04)
        yield f"proj{layer}", normal(width, width, scale=0.04)
        yield f"up{layer}", normal(width, inner, scale=0.04)
        yield f"upb{layer}", normal(inner)
        yield f"down{layer}", normal(inner, width, scale=0.02)
    yield "gain", _gain(width, rng)
    yield "shift", normal(width)
    yield "head", normal(width, shape.vocabulary)


def _gain(width: int, rng: np.random.Generator) -> NDArray[np.float32]:
    gain = np.exp(rng.normal(0, 0.3, width))
    gain[rng.choice(width, max(int(OUTLIERS * width), 1), replace=False)] *= LARGE
    return gain.astype(np.float32)


def _text(shape: Shape) -> str:
    w, size, heads = shape.width, shape.width // shape.heads, shape.heads
    inputs = ["int64[B, S] ids", f"float[{shape.vocabulary}, {w}] tokens", f"float[{shape.context}, {w}] places"]
    lines = [
        "embedded = Gather (tokens, ids)",
        "sizes = Shape (ids)",
        "length = Slice (sizes, one, two)",
        "near = Slice (places, zero, length)",
        "x0 = Add (embedded, near)",
        "scalar = Squeeze (length)",
        "row = Range (none, scalar, step)",
        "column = Unsqueeze (row, one)",
        "later = Less (column, row)",
        "mask = Where (later, low, nought)",
    ]
    for n in range(shape.layers):
        inputs += [f"float[{w}] gaina{n}", f"float[{w}] shifta{n}", f"float[{w}] gainb{n}", f"float[{w}] shiftb{n}"]
        inputs += [f"float[{w}, {3 * w}] qkv{n}", f"float[{w}, {w}] proj{n}", f"float[{w}, {4 * w}] up{n}"]
        inputs += [f"float[{4 * w}] upb{n}", f"float[{4 * w}, {w}] down{n}"]
        lines += _layer(n)
    inputs += [f"float[{w}] gain", f"float[{w}] shift", f"float[{w}, {shape.vocabulary}] head"]
    lines += [f"final = LayerNormalization <axis = -1> (x{shape.layers}, gain, shift)", "logits = MatMul (final, head)"]
    constants = (
        "<int64[1] zero = {0}, int64[1] one = {1}, int64[1] two = {2}, int64 none = {0}, int64 step = {1}, "
        f"float low = {{-10000}}, float nought = {{0}}, float root = {{{size**-0.5}}}, "
        f"int64[4] split = {{0, 0, {heads}, {size}}}, int64[3] joined = {{0, 0, {w}}}>"
    )
    body = "\n".join(lines)
    return (
        f'<ir_version: 10, opset_import: ["" : 21]> decoder ({", ".join(inputs)}) => '
        f"(float[B, S, {shape.vocabulary}] logits) {constants} {{\n{body}\n}}"
    )


def _layer(n: int) -> list[str]:
    return [
        f"na{n} = LayerNormalization <axis = -1> (x{n}, gaina{n}, shifta{n})",
        f"all{n} = MatMul (na{n}, qkv{n})",
        f"q{n}, k{n}, v{n} = Split <axis = -1, num_outputs = 3> (all{n})",
        *(f"{part}r{n} = Reshape ({part}{n}, split)" for part in "qkv"),
        f"qt{n} = Transpose <perm = [0, 2, 1, 3]> (qr{n})",
        f"kt{n} = Transpose <perm = [0, 2, 3, 1]> (kr{n})",
        f"vt{n} = Transpose <perm = [0, 2, 1, 3]> (vr{n})",
        f"qk{n} = MatMul (qt{n}, kt{n})",
        f"scaled{n} = Mul (qk{n}, root)",
        f"masked{n} = Add (scaled{n}, mask)",
        f"soft{n} = Softmax <axis = -1> (masked{n})",
        f"mixed{n} = MatMul (soft{n}, vt{n})",
        f"back{n} = Transpose <perm = [0, 2, 1, 3]> (mixed{n})",
        f"heads{n} = Reshape (back{n}, joined)",
        f"out{n} = MatMul (heads{n}, proj{n})",
        f"y{n} = Add (x{n}, out{n})",
        f"nb{n} = LayerNormalization <axis = -1> (y{n}, gainb{n}, shiftb{n})",
        f"wide{n} = MatMul (nb{n}, up{n})",
        f"biased{n} = Add (wide{n}, upb{n})",
        f"act{n} = Gelu (biased{n})",
        f"narrow{n} = MatMul (act{n}, down{n})",
        f"x{n + 1} = Add (y{n}, narrow{n})",
    ]


if __name__ == "__main__":
    save_model(make_decoder(), Path(sys.argv[1]))
