"""How each composite operator is taken apart, after ``onnx.reference.ops``: see ``composites``."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir

from optimizer.simulation.steps import Steps

_FLOAT = ir.DataType.FLOAT

Expansion = Callable[[Steps], "list[ir.Value] | None"]
"""The values in place of the node's outputs; None where the node stays as it is."""


def _axes_from(steps: Steps, first: int) -> ir.Value | None:
    """Axes ``first`` … last; None where the rank decides and is not known."""
    if first >= 0:
        if steps.data.shape is None:
            return None
        first -= len(steps.data.shape)
    return steps.integers(list(range(first, 0)))


def _layer_norm(steps: Steps) -> list[ir.Value] | None:
    node, data = steps.node, steps.data
    axes = _axes_from(steps, node.attributes.get_int("axis", -1))
    if axes is None:
        return None
    mean = steps.mean(data, axes)
    away = steps.do("Sub", data, mean)
    inverse = _inverse_root(steps, steps.mean(steps.do("Mul", away, away), axes))
    results = [_scaled(steps, steps.wide("Mul", away, inverse)), mean]
    return [*results, steps.narrow(inverse)] if len(node.outputs) > 2 else results


def _rms_norm(steps: Steps) -> list[ir.Value] | None:
    axes = _axes_from(steps, steps.node.attributes.get_int("axis", -1))
    if axes is None:
        return None
    mean = steps.do("ReduceMean", steps.do("Mul", steps.data, steps.data), axes, keepdims=1)
    return [_scaled(steps, steps.wide("Mul", steps.data, _inverse_root(steps, mean)))]


def _inverse_root(steps: Steps, variance: ir.Value) -> ir.Value:
    return steps.wide("Reciprocal", _deviation(steps, variance))


def _deviation(steps: Steps, variance: ir.Value) -> ir.Value:
    """The root of ``variance`` and the node's epsilon, in FP32."""
    epsilon = steps.number(steps.node.attributes.get_float("epsilon", 1e-5), _FLOAT)
    return steps.wide("Sqrt", steps.wide("Add", variance, epsilon))


def _scaled(steps: Steps, value: ir.Value) -> ir.Value:
    """Times input 1, plus input 2, where they are given; then rounded."""
    for op_type, operand in zip(("Mul", "Add"), (steps.input(1), steps.input(2)), strict=True):
        value = value if operand is None else steps.wide(op_type, value, operand)
    return steps.narrow(value)


def _instance_norm(steps: Steps) -> list[ir.Value] | None:
    axes, shape = _axes_from(steps, 2), _per_channel(steps)
    if axes is None or shape is None:
        return None
    scale, bias = (steps.do("Reshape", steps.input(i), shape) for i in (1, 2))
    away = steps.do("Sub", steps.data, steps.do("ReduceMean", steps.data, axes, keepdims=1))
    variance = steps.do("ReduceMean", steps.wide("Mul", away, away), axes, keepdims=1)
    shares = steps.wide("Div", steps.do("Mul", scale, away), _deviation(steps, variance))
    return [steps.narrow(steps.wide("Add", shares, bias))]


def _batch_norm(steps: Steps) -> list[ir.Value] | None:
    shape = _per_channel(steps)
    if shape is None or steps.node.attributes.get_int("training_mode", 0) != 0:
        return None
    scale, bias, mean, variance = (steps.do("Reshape", steps.input(i), shape) for i in (1, 2, 3, 4))
    away = steps.do("Mul", scale, steps.do("Sub", steps.data, mean))
    return [steps.narrow(steps.wide("Add", steps.wide("Div", away, _deviation(steps, variance)), bias))]


def _group_norm(steps: Steps) -> list[ir.Value] | None:
    """Normalized in FP32, rounded, scaled and shifted in the type of the data."""
    shape, scale = _per_channel(steps), steps.input(1)
    channels = scale.shape[0] if scale is not None and scale.shape is not None else None
    if shape is None or not isinstance(channels, int):
        return None
    ones, zeros = (
        steps.do("Constant", value=ir.Tensor(np.full(channels, fill, steps.dtype.numpy()), dtype=steps.dtype))
        for fill in (1, 0)
    )
    normal = steps.like("GroupNormalization", steps.data, ones, zeros)
    scaled = steps.do("Mul", normal, steps.do("Reshape", scale, shape))
    return [steps.do("Add", scaled, steps.do("Reshape", steps.input(2), shape))]


def _per_channel(steps: Steps) -> ir.Value | None:
    """The shape of a vector per channel beside the data: [C, 1, ...]."""
    rank = len(steps.data.shape) if steps.data.shape is not None else 0
    return steps.integers([-1, *[1] * (rank - 2)]) if rank >= 2 else None


def _softmax(steps: Steps) -> list[ir.Value]:
    return [_shares(steps)]


def _log_softmax(steps: Steps) -> list[ir.Value]:
    return [steps.do("Log", _shares(steps))]


def _shares(steps: Steps) -> ir.Value:
    axes = steps.integers([steps.node.attributes.get_int("axis", -1)])
    below = steps.do("Sub", steps.data, steps.do("ReduceMax", steps.data, axes, keepdims=1))
    raised = steps.do("Exp", below)
    return steps.do("Div", raised, steps.total(raised, axes))


def _reduced(finish: Callable[[Steps, dict[str, Any]], ir.Value]) -> Expansion:
    def expand(steps: Steps) -> list[ir.Value]:
        names = ("keepdims", "noop_with_empty_axes")
        given = {n: steps.node.attributes.get_int(n, 0) for n in names if n in steps.node.attributes}
        return [finish(steps, {"keepdims": 1, **given})]

    return expand


def _reduce_mean(steps: Steps, attributes: dict[str, Any]) -> ir.Value:
    return steps.mean(steps.data, steps.input(1), **attributes)


def _sum_square(steps: Steps, attributes: dict[str, Any]) -> ir.Value:
    return steps.do("ReduceSum", steps.do("Mul", steps.data, steps.data), steps.input(1), **attributes)


def _l2(steps: Steps, attributes: dict[str, Any]) -> ir.Value:
    return steps.do("Sqrt", _sum_square(steps, attributes))


def _lp_normalization(steps: Steps) -> list[ir.Value] | None:
    attributes = steps.node.attributes
    if attributes.get_int("p", 2) != 2:
        return None
    axes = steps.integers([attributes.get_int("axis", -1)])
    norm = steps.do("Sqrt", steps.total(steps.do("Mul", steps.data, steps.data), axes))
    zero = steps.number(0.0)
    empty = steps.do("Equal", norm, zero, dtype=ir.DataType.BOOL)
    return [steps.do("Where", empty, zero, steps.do("Div", steps.data, norm))]


def _gemm(steps: Steps) -> list[ir.Value] | None:
    node = steps.node
    alpha, beta = (node.attributes.get_float(name, 1.0) for name in ("alpha", "beta"))
    bias = steps.input(2)
    if bias is None and alpha == 1.0:
        return None
    transposed: dict[str, Any] = {name: node.attributes.get_int(name, 0) for name in ("transA", "transB")}
    product = steps.do("Gemm", steps.data, steps.input(1), **transposed)
    if alpha != 1.0:
        product = steps.wide("Mul", product, steps.number(alpha, _FLOAT))
    if bias is not None and beta != 1.0:
        bias = steps.wide("Mul", bias, steps.number(beta, _FLOAT))
    return [steps.narrow(product if bias is None else steps.wide("Add", product, bias))]


def _conv(steps: Steps) -> list[ir.Value] | None:
    weight, bias = steps.input(1), steps.input(2)
    if weight is None or weight.shape is None or bias is None:
        return None
    plain = steps.like(steps.node.op_type, steps.data, weight)
    shape = steps.integers([-1, *[1] * (len(weight.shape) - 2)])
    return [steps.do("Add", plain, steps.do("Reshape", bias, shape))]


def _quantize(steps: Steps) -> list[ir.Value] | None:
    """The quotient by the scale rounds before it is rounded to a code: one code in a hundred is another."""
    scale, output = steps.input(1), steps.node.outputs[0]
    scalar = scale is not None and scale.shape is not None and scale.shape.dims in ((), (1,))
    if not scalar or output.dtype not in (ir.DataType.INT8, ir.DataType.UINT8):
        return None
    quotient, one = steps.do("Div", steps.data, scale), steps.number(1.0)
    return [steps.do("QuantizeLinear", quotient, one, steps.input(2), dtype=output.dtype)]


def _gelu(steps: Steps) -> list[ir.Value]:
    x, half, one = steps.data, steps.number(0.5), steps.number(1.0)
    if steps.node.attributes.get_string("approximate", "none") == "tanh":
        cube = steps.do("Mul", steps.do("Mul", x, x), x)
        inner = steps.do("Add", x, steps.do("Mul", steps.number(0.044715), cube))
        bent = steps.do("Tanh", steps.do("Mul", steps.number(math.sqrt(2 / math.pi)), inner))
    else:
        bent = steps.do("Erf", steps.do("Mul", x, steps.number(math.sqrt(0.5))))
    return [steps.do("Mul", steps.do("Mul", half, x), steps.do("Add", one, bent))]


def _sigmoid(steps: Steps) -> list[ir.Value]:
    one, positive = steps.number(1.0), steps.do("Greater", steps.data, steps.number(0.0), dtype=ir.DataType.BOOL)
    raised = steps.do("Exp", steps.do("Neg", steps.do("Abs", steps.data)))
    share = steps.do("Where", positive, one, raised)
    return [steps.do("Div", share, steps.do("Add", one, raised))]


def _softsign(steps: Steps) -> list[ir.Value]:
    return [steps.do("Div", steps.data, steps.do("Add", steps.do("Abs", steps.data), steps.number(1.0)))]


def _swish(steps: Steps) -> list[ir.Value]:
    alpha = steps.number(steps.node.attributes.get_float("alpha", 1.0), _FLOAT)
    share = steps.narrow(steps.wide("Sigmoid", steps.wide("Mul", steps.data, alpha)))
    return [steps.do("Mul", steps.data, share)]


EXPANSIONS: dict[str, Expansion] = {
    "LayerNormalization": _layer_norm,
    "RMSNormalization": _rms_norm,
    "InstanceNormalization": _instance_norm,
    "BatchNormalization": _batch_norm,
    "GroupNormalization": _group_norm,
    "Softmax": _softmax,
    "LogSoftmax": _log_softmax,
    "ReduceMean": _reduced(_reduce_mean),
    "ReduceSumSquare": _reduced(_sum_square),
    "ReduceL2": _reduced(_l2),
    "LpNormalization": _lp_normalization,
    "Gemm": _gemm,
    "Conv": _conv,
    "ConvTranspose": _conv,
    "Gelu": _gelu,
    "Sigmoid": _sigmoid,
    "Softsign": _softsign,
    "Swish": _swish,
    "QuantizeLinear": _quantize,
}
