"""Elementwise arithmetic, comparisons, reductions: float and integer, with constants and with each other."""

from __future__ import annotations

import numpy as np

from studies.breadth.draft import Draft, Rejected, Value

_PLAIN = (
    *("Relu", "Sigmoid", "Tanh", "Elu", "Selu", "LeakyRelu", "Softplus", "Softsign", "HardSigmoid", "Abs", "Neg"),
    *("Floor", "Ceil", "Exp", "Identity", "Erf", "Sign", "Sin", "Cos", "Round", "Mish", "Gelu", "Celu", "HardSwish"),
    *("ThresholdedRelu", "Atan", "Sinh", "Swish"),
)
_REDUCTIONS = ("Mean", "Sum", "Max", "Min", "Prod", "L1", "L2", "SumSquare", "LogSumExp", "LogSum")


def unary(d: Draft) -> object:
    return d.add(d.choice(_PLAIN), [d.pick()])


def positive(d: Draft) -> object:
    """Square roots, logarithms and reciprocals of what is made positive first."""
    apart = d.add("Add", [d.add("Abs", [d.pick()]), d.constant(np.float64(0.1))])
    return d.add(d.choice(("Sqrt", "Log", "Reciprocal")), [apart])


def clip(d: Draft) -> object:
    low, high = sorted(d.rng.normal(size=2) * 2)
    value = d.pick()
    if d.opset < 11:
        return d.add("Clip", [value], min=float(low), max=float(high))
    bounds = [d.constant(np.float64(low)), d.constant(np.float64(high))]
    kept = [bound if d.chance(0.7) else None for bound in bounds]
    return d.add("Clip", [value, *kept])


def prelu(d: Draft) -> object:
    value = d.pick(2, 3, 4)
    return d.add("PRelu", [value, d.constant(d.rng.uniform(0, 0.5, (value.array.shape[1], *[1] * (value.rank - 2))))])


def with_constant(d: Draft) -> object:
    """A constant of any broadcastable shape, on either side."""
    value = d.pick()
    shape = [size if d.chance(0.5) else 1 for size in value.array.shape][int(d.rng.integers(value.rank + 1)) :]
    op = d.choice(("Add", "Sub", "Mul", "Div", "Max", "Min", "Pow"))
    array = d.rng.uniform(0.5, 2, shape) if op in ("Div", "Pow") else d.rng.normal(size=shape)
    constant = d.constant(array * (d.scale if op == "Mul" else 1))
    if op == "Pow":
        value = d.add("Abs", [value])
    return d.add(op, [constant, value] if op in ("Add", "Mul", "Sub") and d.chance(0.3) else [value, constant])


def with_each_other(d: Draft) -> object:
    first = d.pick()
    fits = [v for v in d.values if v.is_float and v.array.dtype == first.array.dtype and _broadcast(first, v)]
    return d.add(d.choice(("Add", "Sub", "Mul", "Max", "Min", "Mean", "Sum")), [first, d.choice(fits)])


def _broadcast(first: Value, second: Value) -> bool:
    try:
        np.broadcast_shapes(first.array.shape, second.array.shape)
    except ValueError:
        return False
    return True


def integers(d: Draft) -> object:
    """Arithmetic of integers, which must stay integer: division, remainder, comparison."""
    value = d.pick(floats=False)
    if value.array.dtype.kind not in "iu":
        raise Rejected
    other = d.constant(d.rng.integers(1, 7, value.array.shape[-1:]), value.array.dtype)
    return d.add(d.choice(("Add", "Mul", "Sub", "Div", "Mod", "Max", "Equal", "Greater")), [value, other])


def where(d: Draft) -> object:
    value = d.pick()
    compared = d.add(d.choice(("Greater", "Less")), [value, d.constant(np.float64(d.rng.normal()))])
    condition = d.add("Not", [compared]) if d.chance(0.3) else compared
    other = d.constant(np.float64(d.rng.normal())) if d.chance(0.5) else d.add("Neg", [value])
    return d.add("Where", [condition, value, other])


def mask(d: Draft) -> object:
    """An attention mask: minus a large number, or infinity, where it is closed, then a softmax."""
    value = d.pick(2, 3, 4)
    closed = np.where(d.rng.random(value.array.shape[-1:]) < 0.5, d.choice((-1e4, -65504.0, -1e9, -1e30)), 0.0)
    closed[0] = 0.0
    largest = float(np.finfo(np.float16).max) if d.dtype == np.float16 else np.inf
    masked = d.add("Add", [value, d.constant(np.clip(closed, -largest, largest))])
    return d.add("Softmax", [masked], axis=-1 if d.opset >= 13 else value.rank - 1)


def softmax(d: Draft) -> object:
    value = d.pick(2, 3, 4)
    axis = int(d.rng.integers(1, value.rank)) if d.chance(0.8) else -1
    return d.add(d.choice(("Softmax", "LogSoftmax", "Hardmax")), [value], axis=axis if d.opset >= 11 else abs(axis))


def reduction(d: Draft) -> object:
    value = d.pick(2, 3, 4, 5)
    op = "Reduce" + d.choice(_REDUCTIONS)
    if op == "ReduceLogSum":
        value = d.add("Add", [d.add("Abs", [value]), d.constant(np.float64(0.1))])
    axes = sorted({int(d.rng.integers(1, value.rank)) for _ in range(2)})
    if d.chance(0.2) and d.opset >= 11:
        axes = [axis - value.rank for axis in axes]
    keep = int(d.chance(0.5))
    return reduce(d, op, value, axes, keep)


def reduce(d: Draft, op: str, value: Value, axes: list[int], keep: int) -> Value:
    """A reduction as the opset writes it: axes as an attribute, or as an input."""
    if d.opset >= 18 or (op == "ReduceSum" and d.opset >= 13):
        found: Value = d.add(op, [value, d.integers(axes)], keepdims=keep)
        return found
    made: Value = d.add(op, [value], axes=axes, keepdims=keep)
    return made


def index_of_largest(d: Draft) -> object:
    value = d.pick(2, 3, 4)
    return d.add(d.choice(("ArgMax", "ArgMin")), [value], axis=int(d.rng.integers(1, value.rank)), keepdims=1)


def scaled(d: Draft) -> object:
    """Values far from one, and back: what float16 overflows or flushes on."""
    factor = float(d.choice((1e4, 3e5, 1e-4, 1e-6)))
    if d.dtype == np.float16:
        factor = min(max(factor, 1e-3), 1e3)
    large = d.add("Mul", [d.pick(), d.constant(np.float64(factor))])
    between = d.add(d.choice(("Relu", "Abs", "Identity", "Neg")), [large])
    return d.add("Mul", [between, d.constant(np.float64(1 / factor))])


def norm_by_hand(d: Draft) -> object:
    """A layer norm spelt out: mean, difference, square, mean, root, quotient."""
    value = d.pick(2, 3, 4)
    centred = d.add("Sub", [value, reduce(d, "ReduceMean", value, [value.rank - 1], 1)])
    square = d.add("Mul", [centred, centred]) if d.chance(0.5) else d.add("Pow", [centred, d.constant(np.float64(2))])
    spread = d.add("Add", [reduce(d, "ReduceMean", square, [value.rank - 1], 1), d.constant(np.float64(1e-5))])
    return d.add("Div", [centred, d.add("Sqrt", [spread])])


STEPS = (
    *(unary,) * 4,
    *(with_constant,) * 3,
    *(with_each_other,) * 3,
    *(positive, clip, prelu, integers, where, mask, softmax, reduction, index_of_largest, scaled, norm_by_hand),
)
