"""What wide nets are made of: layers one after another, with what joins them, as INT8 is made for."""

from __future__ import annotations

from typing import Any

import numpy as np

from studies.breadth.draft import Draft, Rejected, Value
from studies.breadth.families.layers import activated, batch_norm_of


def _same_size(d: Draft, value: Value, group: int = 1) -> Value:
    """A convolution that keeps channels and sizes."""
    channels, spatial = value.array.shape[1], value.array.shape[2:]
    weight = d.weight(channels, channels // group, *[3] * len(spatial), fan_in=channels // group * 3 ** len(spatial))
    bias = [d.constant(d.rng.normal(size=channels) * 0.1)] if d.chance(0.5) else []
    found: Value = d.add("Conv", [value, weight, *bias], group=group, pads=[1] * 2 * len(spatial))
    return found


def _linear(d: Draft, value: Value, out: int, *, biased: bool = True) -> Value:
    """A product over the last axis; its bias stands on either side of the sum."""
    inner = value.array.shape[-1]
    made: Value = d.add("MatMul", [value, d.weight(inner, out, fan_in=inner)])
    if not biased:
        return made
    bias = d.weight(out)
    summed: Value = d.add("Add", [made, bias] if d.chance(0.5) else [bias, made])
    return summed


def residual(d: Draft) -> object:
    """Two convolutions and their data again."""
    value = d.pick(3, 4, 5)
    inside = d.add("Relu", [batch_norm_of(d, _same_size(d, value))])
    made = _same_size(d, inside)
    summed = d.add("Add", [value, made] if d.chance(0.5) else [made, value])
    return d.add("Relu", [summed]) if d.chance(0.6) else summed


def separable(d: Draft) -> object:
    """A depthwise convolution, then one of single elements, as mobile nets have them."""
    value = d.pick(3, 4)
    channels, spatial = value.array.shape[1], value.array.shape[2:]
    deep = activated(d, _same_size(d, value, channels))
    out = d.width(4, 9)
    weight = d.weight(out, channels, *[1] * len(spatial), fan_in=channels)
    return activated(d, d.add("Conv", [deep, weight]))


def squeeze_and_excite(d: Draft) -> object:
    """Each channel times a factor that is computed from the means of all."""
    value = d.pick(4)
    channels = value.array.shape[1]
    out = d.width(2, 9)
    mean = d.add("GlobalAveragePool", [value])
    small = d.add("Relu", [d.add("Conv", [mean, d.weight(out, channels, 1, 1, fan_in=channels)])])
    gate = d.add("Sigmoid", [d.add("Conv", [small, d.weight(channels, out, 1, 1, fan_in=out)])])
    return d.add("Mul", [value, gate])


def feed_forward(d: Draft) -> object:
    """Two products with an activation between, and the data again, as transformers have them."""
    value = d.pick(2, 3)
    width = value.array.shape[-1]
    hidden = _linear(d, value, d.width(4, 17), biased=d.chance(0.8))
    if d.chance(0.5):
        hidden = d.add("Relu", [hidden])
    else:
        halved = d.add("Mul", [hidden, d.constant(np.float64(2**-0.5))])
        whole = d.add("Add", [d.add("Erf", [halved]), d.constant(np.float64(1))])
        hidden = d.add("Mul", [d.add("Mul", [hidden, whole]), d.constant(np.float64(0.5))])
    made = _linear(d, hidden, width, biased=d.chance(0.8))
    return d.add("Add", [made, value])


def heads(d: Draft) -> object:
    """Self-attention of two heads, with the reshapes and transposes of exporters."""
    value = d.pick(3)
    _, length, width = value.array.shape
    if width % 2:
        raise Rejected

    def head(perm: list[int]) -> Value:
        split = d.add("Reshape", [_linear(d, value, width), d.integers([0, length, 2, width // 2])])
        moved: Value = d.add("Transpose", [split], perm=perm)
        return moved

    scores = d.add("MatMul", [head([0, 2, 1, 3]), head([0, 2, 3, 1])])
    scaled = d.add("Mul", [scores, d.constant(np.float64((width / 2) ** -0.5))])
    mixed = d.add("MatMul", [d.add("Softmax", [scaled], axis=3), head([0, 2, 1, 3])])
    joined = d.add("Reshape", [d.add("Transpose", [mixed], perm=[0, 2, 1, 3]), d.integers([0, length, width])])
    return d.add("Add", [_linear(d, joined, width), value])


def scaled_gemm(d: Draft) -> object:
    """Gemm with every attribute; where its data is transposed, it was transposed before."""
    value = d.pick(2)
    inner, out = value.array.shape[1], d.width(1, 9)
    attributes: dict[str, Any] = {"alpha": float(d.choice((1.0, 0.5, 2.0))), "beta": float(d.choice((1.0, 0.0, 0.3)))}
    turned, transposed = int(d.chance(0.3)), int(d.chance(0.5))
    if turned:
        value = d.add("Transpose", [value], perm=[1, 0])
        d.values.remove(value)  # its first axis is no batch
    weight = d.weight(*((out, inner) if transposed else (inner, out)), fan_in=inner)
    bias = d.weight(*d.choice([(out,), (1, out), (1,)]))
    return d.add("Gemm", [value, weight, bias], transA=turned, transB=transposed, **attributes)


def shared_product(d: Draft) -> object:
    """Two branches of one weight, summed, or joined."""
    value = d.pick(2, 3)
    width, out = value.array.shape[-1], d.width(2, 9)
    weight = d.weight(width, out, fan_in=width)
    first = d.add("MatMul", [value, weight])
    second = d.add("MatMul", [d.add(d.choice(("Relu", "Neg", "Tanh")), [value]), weight])
    if d.chance(0.5):
        return d.add("Add", [first, second])
    return d.add("Concat", [first, second], axis=value.rank - 1)


def inception(d: Draft) -> object:
    """Convolutions of one tensor, and a pool of it, side by side."""
    value = d.pick(4)
    channels = value.array.shape[1]
    narrow = d.add("Conv", [value, d.weight(d.width(2, 9), channels, 1, 1, fan_in=channels)])
    pooled = d.add(d.choice(("MaxPool", "AveragePool")), [value], kernel_shape=[3, 3], pads=[1] * 4)
    branches = [d.add("Relu", [narrow]), _same_size(d, value), pooled]
    return d.add("Concat", branches[int(d.rng.integers(0, 2)) :], axis=1)


STEPS = (
    *(residual, residual, separable, separable, squeeze_and_excite, feed_forward, feed_forward, heads),
    *(scaled_gemm, scaled_gemm, shared_product, inception),
)
