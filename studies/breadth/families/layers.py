"""Layers with weights and what stands between them: convolutions, products, norms, pools, recurrent nets."""

from __future__ import annotations

from typing import Any

import numpy as np

from studies.breadth.draft import Draft, Rejected, Value


def convolution(d: Draft) -> object:
    value = d.pick(3, 4, 5)
    channels, spatial = value.array.shape[1], value.array.shape[2:]
    kernel = [int(d.rng.integers(1, min(size, 3) + 1)) for size in spatial]
    groups = d.choice([g for g in (1, 1, 1, 2, channels) if channels % g == 0])
    out = groups * (d.width(1, 5) if groups < 3 else int(d.rng.integers(1, 5 - 2 * d.wide)))
    weight = d.weight(out, channels // groups, *kernel, fan_in=channels // groups * int(np.prod(kernel)))
    bias = [d.constant(d.rng.normal(size=out) * 0.1)] if d.chance(0.6) else []
    attributes: dict[str, Any] = {"group": groups, "strides": [int(d.rng.integers(1, 3)) for _ in spatial]}
    if d.chance(0.8):
        attributes["kernel_shape"] = kernel
    padding = d.rng.random()
    if padding < 0.5:
        attributes["pads"] = [int(d.rng.integers(0, 2)) for _ in range(2 * len(spatial))]
    elif padding < 0.7:
        attributes["auto_pad"] = d.choice(("SAME_UPPER", "SAME_LOWER", "VALID"))
    return activated(d, d.add("Conv", [value, weight, *bias], **attributes))


def transposed_convolution(d: Draft) -> object:
    value = d.pick(3, 4)
    channels, spatial = value.array.shape[1], value.array.shape[2:]
    groups = d.choice([g for g in (1, 1, 2) if channels % g == 0])
    out, kernel = d.width(1, 4), int(d.rng.integers(1, 4))
    weight = d.weight(channels, out, *[kernel] * len(spatial), fan_in=channels // groups * kernel)
    bias = [d.constant(d.rng.normal(size=out * groups) * 0.1)] if d.chance(0.5) else []
    return activated(d, d.add("ConvTranspose", [value, weight, *bias], group=groups, strides=[2] * len(spatial)))


def activated(d: Draft, value: Value) -> Value:
    """What follows a layer in most nets: a norm, an activation, both or neither."""
    if d.chance(0.35):
        value = batch_norm_of(d, value)
    op = d.choice(("Relu", "Relu", "Sigmoid", "Tanh", "Elu", "LeakyRelu", ""))
    found: Value = d.add(op, [value]) if op else value
    return found


def batch_norm(d: Draft) -> object:
    return batch_norm_of(d, d.pick(2, 3, 4, 5))


def batch_norm_of(d: Draft, value: Value) -> Value:
    channels = value.array.shape[1]
    scale, bias, mean = (d.constant(d.rng.normal(size=channels) * s + m) for s, m in ((0.5, 1), (0.1, 0), (0.3, 0)))
    variance = d.constant(d.rng.uniform(0.3, 2, channels))
    attributes: dict[str, Any] = {"epsilon": float(d.choice((1e-5, 1e-3)))}
    found: Value = d.add("BatchNormalization", [value, scale, bias, mean, variance], **attributes)
    return found


def norm(d: Draft) -> object:
    """The other norms, each from the opset that has it."""
    value = d.pick(3, 4)
    channels, last = value.array.shape[1], value.array.shape[-1]
    kinds = ["InstanceNormalization", "LRN", "LpNormalization", "MeanVarianceNormalization"]
    kinds += ["LayerNormalization"] * 3 * (d.opset >= 17) + ["GroupNormalization"] * 2 * (d.opset >= 18)
    kinds += ["RMSNormalization"] * 2 * (d.opset >= 23)
    op = d.choice(kinds)

    def scale(size: int) -> Value:
        return d.constant(1 + d.rng.normal(size=size) * 0.2)

    if op == "InstanceNormalization":
        return d.add(op, [value, scale(channels), d.weight(channels)])
    if op == "LRN":
        return d.add(op, [value], size=3)
    if op == "LpNormalization":
        return d.add(op, [value], axis=int(d.rng.integers(1, value.rank)), p=int(d.rng.integers(1, 3)))
    if op == "MeanVarianceNormalization":
        return d.add(op, [value], axes=[value.rank - 1])
    if op == "GroupNormalization":
        groups = d.choice([g for g in (1, 2, channels) if channels % g == 0])
        size = channels if d.opset >= 21 else groups
        return d.add(op, [value, scale(size), d.weight(size)], num_groups=groups)
    return d.add(
        op, [value, scale(last), *([d.weight(last)] if op == "LayerNormalization" and d.chance(0.7) else [])], axis=-1
    )


def pool(d: Draft) -> object:
    value = d.pick(3, 4, 5)
    spatial = value.array.shape[2:]
    op = d.choice(("MaxPool", "MaxPool", "AveragePool", "AveragePool", "LpPool", "GlobalAveragePool", "GlobalMaxPool"))
    if op.startswith("Global"):
        return d.add(op, [value])
    attributes: dict[str, Any] = {"kernel_shape": [min(size, int(d.rng.integers(1, 4))) for size in spatial]}
    attributes["strides"] = [int(d.rng.integers(1, 3)) for _ in spatial]
    if d.chance(0.4) and min(attributes["kernel_shape"]) > 1:
        attributes["pads"] = [int(d.rng.integers(0, 2)) for _ in range(2 * len(spatial))]
    if op != "LpPool" and d.opset >= 10 and d.chance(0.3):
        attributes["ceil_mode"] = 1
    if op == "AveragePool" and d.chance(0.4):
        attributes["count_include_pad"] = 1
    return d.add(op, [value], outputs=2 if op == "MaxPool" and d.chance(0.1) else 1, **attributes)


def product(d: Draft) -> object:
    """A matrix product with a constant on either side, or batched constants."""
    value = d.pick(2, 3, 4)
    inner, out = value.array.shape[-1], d.width(1, 9)
    batch = value.array.shape[1:-2] if value.rank >= 3 and d.chance(0.25) else ()
    if d.chance(0.15) and value.rank >= 3:
        return d.add("MatMul", [d.weight(out, value.array.shape[-2], fan_in=inner), value])
    made = d.add("MatMul", [value, d.weight(*batch, inner, out, fan_in=inner)])
    return d.add("Add", [made, d.weight(out)]) if d.chance(0.6) else made


def dense(d: Draft) -> object:
    value = d.pick(2)
    inner, out = value.array.shape[1], d.width(1, 9)
    transposed = int(d.chance(0.6))
    weight = d.weight(*((out, inner) if transposed else (inner, out)), fan_in=inner)
    bias = [d.weight(*d.choice([(out,), (1, out), ()]))] if d.chance(0.7) else []
    if not bias and d.opset < 11:
        bias = [d.weight(out)]
    attributes: dict[str, Any] = {"alpha": 0.5, "beta": 2.0} if d.chance(0.2) else {}
    return activated(d, d.add("Gemm", [value, weight, *bias], transB=transposed, **attributes))


def attention(d: Draft) -> object:
    """Two products of activations with a softmax between."""
    value = d.pick(3)
    width = value.array.shape[-1]
    q, k, v = (d.add("MatMul", [value, d.weight(width, width, fan_in=width)]) for _ in range(3))
    scores = d.add("MatMul", [q, d.add("Transpose", [k], perm=[0, 2, 1])])
    scaled = d.add("Div", [scores, d.constant(np.float64(width**0.5))])
    return d.add("MatMul", [d.add("Softmax", [scaled], axis=2 if d.opset < 13 else -1), v])


def fused_attention(d: Draft) -> object:
    value = d.pick(4)
    if d.opset < 23:
        raise Rejected
    return d.add("Attention", [value, value, value])


def einsum(d: Draft) -> object:
    value = d.pick(3)
    if d.opset < 12:
        raise Rejected
    width, out = value.array.shape[-1], d.width(1, 6)
    weight = d.weight(width, out, fan_in=width)
    return d.add(
        "Einsum", [value, weight], equation=d.choice(("bti,io->bto", "BTI,IO->BTO", "bti,io->bot", "...i,io->...o"))
    )


def recurrent(d: Draft) -> object:
    """LSTM, GRU and RNN in time-major order, one or two directions."""
    value = d.pick(3)
    op, gates = d.choice((("LSTM", 4), ("GRU", 3), ("RNN", 1)))
    both = d.chance(0.4)
    directions, width, hidden = 1 + both, value.array.shape[-1], d.width(1, 6)
    weights = [d.weight(directions, gates * hidden, size, fan_in=size) for size in (width, hidden)]
    bias = [d.weight(directions, 2 * gates * hidden, fan_in=4)] if d.chance(0.7) else []
    attributes: dict[str, Any] = {"hidden_size": hidden, "direction": "bidirectional" if both else "forward"}
    if op == "GRU" and d.chance(0.5):
        attributes["linear_before_reset"] = 1
    timed = d.add("Transpose", [value], perm=[1, 0, 2])
    made = d.add(op, [timed, *weights, *bias], outputs=2, **attributes)[0]
    moved = d.add("Transpose", [made], perm=[2, 0, 1, 3])
    return d.add("Reshape", [moved, d.integers([0, 0, -1])])


def embedding(d: Draft) -> object:
    """A table read by integers that a model is given."""
    ids = d.pick(1, 2, 3, floats=False)
    if ids.array.dtype.kind != "i" or ids.array.min() < 0 or ids.array.max() >= 16:
        raise Rejected
    return d.add("Gather", [d.weight(16, d.width(2, 9)), ids])


STEPS = (
    *(convolution,) * 6,
    *(product,) * 4,
    *(dense,) * 3,
    *(norm,) * 2,
    *(pool,) * 3,
    *(attention, einsum, recurrent, transposed_convolution, batch_norm, fused_attention, embedding, embedding),
)
