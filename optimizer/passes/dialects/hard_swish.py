"""One spelling of HardSwish, ``x clip(x + 3, 0, 6) / 6`` (Howard et al. 2019, https://arxiv.org/abs/1905.02244).

PyTorch exports the operator from opset 14 on and a product with HardSigmoid before; Paddle and Keras spell both out. A
model exported again by another version would be another graph to ``optimize update``, and calibrated at other places.
"""

from __future__ import annotations

import math

import onnx_ir as ir
import onnx_ir.passes.common as common

from graphs.reading.constants import constant_array
from graphs.reading.operators import is_standard
from optimizer.passes.base import PassResult

_SIXTH = 1 / 6
_NEAR = 1e-5
"""Relative difference of a constant from what it stands for: float32 holds a sixth to 3e-8, some exporters print six
digits. Chosen."""


class NameHardSwish:
    """Nodes that end such a spelling become the operator, under their own name; what only they read goes."""

    name = "hard swish as one operator"

    def apply(self, model: ir.Model) -> PassResult:
        found = 0
        for node in [node for graph in model.graphs() for node in graph]:
            if (source := _hard_swish_of(node)) is not None:
                node.op_type, node.overload = "HardSwish", ""
                node.resize_inputs(1)
                node.replace_input_with(0, source)
                found += 1
        if found:
            common.RemoveUnusedNodesPass()(model)
        return PassResult(found, (f"{found} hard swishes written as one operator",) if found else ())


def _hard_swish_of(node: ir.Node) -> ir.Value | None:
    """What ``node`` gives the hard swish of; None where it gives something else."""
    product, scale = _scaled(node.outputs[0], own=True) if node.op_type in ("Mul", "Div") else (None, 1.0)
    if product is None or (multiply := product.producer()) is None or not _is(multiply, "Mul"):
        return None
    left, right = multiply.inputs
    for source, gate in ((left, right), (right, left)):
        if source is not None and gate is not None and _is_gate(gate, source, scale):
            return source
    return None


def _is_gate(gate: ir.Value, source: ir.Value, scale: float) -> bool:
    """Whether ``gate`` times ``scale`` is ``clip(source + 3, 0, 6) / 6``."""
    inner, own = _scaled(gate)
    node = inner.producer()
    if node is None or not _is_only_read_once(inner):
        return False
    if _is(node, "HardSigmoid") and node.inputs[0] is source:
        alpha, beta = node.attributes.get_float("alpha", 0.2), node.attributes.get_float("beta", 0.5)
        return _near(alpha, _SIXTH) and _near(beta, 0.5) and _near(scale * own, 1.0)
    return _near(scale * own, _SIXTH) and _is_clipped_sum(node, source)


def _is_clipped_sum(clip: ir.Node, source: ir.Value) -> bool:
    if not _is(clip, "Clip") or [_scalar(value) for value in clip.inputs[1:]] != [0.0, 6.0]:
        return False
    total = clip.inputs[0]
    add = total.producer() if total is not None and _is_only_read_once(total) else None
    if add is None or not _is(add, "Add") or source not in add.inputs:
        return False
    return any(_scalar(value) == 3.0 for value in add.inputs)


def _scaled(value: ir.Value, *, own: bool = False) -> tuple[ir.Value, float]:
    """The tensor that ``value`` is a multiple of, and the factor. ``own``: ``value`` may be read by anybody."""
    node = value.producer()
    if node is None or not (own or _is_only_read_once(value)) or not (_is(node, "Mul") or _is(node, "Div")):
        return value, 1.0
    left, right = node.inputs
    if right is not None and left is not None and (factor := _scalar(right)) is not None and factor:
        return left, factor if node.op_type == "Mul" else 1.0 / factor
    if left is not None and right is not None and node.op_type == "Mul" and (factor := _scalar(left)) is not None:
        return right, factor
    return value, 1.0


def _is(node: ir.Node, op_type: str) -> bool:
    return node.op_type == op_type and is_standard(node)


def _is_only_read_once(value: ir.Value) -> bool:
    return len(value.uses()) == 1 and not value.is_graph_output()


def _scalar(value: ir.Value | None) -> float | None:
    """A constant of no axes, or of one element along one: it does not change the shape of what it meets."""
    array = constant_array(value) if value is not None else None
    return float(array.reshape(())) if array is not None and array.size == 1 and array.ndim <= 1 else None


def _near(value: float, wanted: float) -> bool:
    return math.isclose(value, wanted, rel_tol=_NEAR)
