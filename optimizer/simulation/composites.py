"""Operators that compute in several steps, written as those steps, each of which rounds and can overflow by itself.

What lies inside one operator depends on the library: some kernels keep it in FP32, others (and onnx's reference) in the
type of the tensors. These expansions follow ``onnx.reference.ops``, the more pessimistic reading: a square inside a
layer norm or a sum over space that leaves FP16's range is seen, and the node can be kept in FP32.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

_INT64, _FLOAT = ir.DataType.INT64, ir.DataType.FLOAT


class Steps:
    """Emits the steps of one node just before it, in the type of its first input."""

    def __init__(self, node: ir.Node) -> None:
        data = node.inputs[0]
        assert data is not None and data.dtype is not None
        self.node, self.data, self.dtype = node, data, data.dtype
        self.made: list[ir.Value] = []
        """Results in the type of the data."""
        self.aside: list[ir.Value] = []
        """Constants, and steps that are FP32 or integer in any case."""
        self._count = 0

    def input(self, index: int) -> ir.Value | None:
        return self.node.inputs[index] if index < len(self.node.inputs) else None

    def do(
        self, op_type: str, *inputs: ir.Value | None, dtype: ir.DataType | None = None, **attributes: Any
    ) -> ir.Value:
        self._count += 1
        name = f"{self.node.outputs[0].name}/{op_type}.{self._count}"
        made = ir.node(op_type, list(inputs), attributes or None, name=name)
        output = made.outputs[0]
        output.name, output.type = name, ir.TensorType(dtype or self.dtype)
        assert self.node.graph is not None
        self.node.graph.insert_before(self.node, [made])
        (self.made if dtype is None and op_type != "Constant" else self.aside).append(output)
        return output

    def like(self, op_type: str, *inputs: ir.Value | None) -> ir.Value:
        """A step with the node's own attributes."""
        output = self.do(op_type, *inputs)
        producer = output.producer()
        assert producer is not None
        producer.attributes.update({attribute.name: attribute for attribute in self.node.attributes.values()})
        return output

    def number(self, value: float, dtype: ir.DataType | None = None) -> ir.Value:
        dtype = dtype or self.dtype
        return self.do("Constant", dtype=dtype, value=ir.Tensor(np.asarray(value, dtype.numpy()), dtype=dtype))

    def integers(self, values: Sequence[int]) -> ir.Value:
        return self.do("Constant", dtype=_INT64, value=ir.Tensor(np.array(values, np.int64)))

    def total(self, value: ir.Value, axes: ir.Value | None) -> ir.Value:
        return self.do("ReduceSum", value, axes, keepdims=1)

    def mean(self, value: ir.Value, axes: ir.Value | None, **attributes: Any) -> ir.Value:
        """The sum in the type of the data, divided by the number of values in each sum."""
        total = self.do("ReduceSum", value, axes, **(attributes or {"keepdims": 1}))
        sizes = (self.do("Size", given, dtype=_INT64) for given in (value, total))
        count = self.wide("Div", *sizes)
        return self.narrow(self.wide("Div", total, count))

    def wide(self, op_type: str, *inputs: ir.Value | None, **attributes: Any) -> ir.Value:
        """A step in FP32, where the reference's operand is a float32 scalar of an attribute and numpy widens."""
        return self.do(op_type, *(self._widened(value) for value in inputs), dtype=_FLOAT, **attributes)

    def narrow(self, value: ir.Value) -> ir.Value:
        return self.do("Cast", value, to=self.dtype.value)

    def _widened(self, value: ir.Value | None) -> ir.Value | None:
        if value is None or value.dtype == _FLOAT:
            return value
        return self.do("Cast", value, dtype=_FLOAT, to=_FLOAT.value)


Expansion = Callable[[Steps], "list[ir.Value] | None"]
"""The values in place of the node's outputs; None where the node stays as it is."""


def expand_composites(model: ir.Model, dtypes: Collection[ir.DataType]) -> dict[str, str]:
    """Replace every composite operator on data of ``dtypes`` by its steps, in place, bodies included.

    Results keep their names. Returns the names of the tensors between the steps, each with its node's name, which is
    empty for what is FP32 in any case.
    """
    inside: dict[str, str] = {}
    for graph in list(model.graphs()):
        for node in list(graph):
            expansion = _EXPANSIONS.get(node.op_type) if node.domain in ("", "ai.onnx") else None
            if expansion is None or not node.inputs or node.inputs[0] is None or node.inputs[0].dtype not in dtypes:
                continue
            steps = Steps(node)
            results = expansion(steps)
            if results:
                _replace(node, results)
                inside |= {str(value.name): str(node.name) for value in steps.made if value not in results}
                inside |= {str(value.name): "" for value in steps.aside if value not in results}
    return inside


def _replace(node: ir.Node, results: Sequence[ir.Value]) -> None:
    for old, new in zip(node.outputs, results, strict=False):
        new.shape = old.shape
        name, old.name = old.name, f"{old.name}/replaced"
        new.name = name
        old.replace_all_uses_with(new, replace_graph_outputs=True)
    assert node.graph is not None
    node.graph.remove(node, safe=True)


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


_EXPANSIONS: dict[str, Expansion] = {
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
