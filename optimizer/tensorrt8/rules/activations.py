"""Element by element: operators that 8.5 lacks, types it does not take, and bounds and defaults it reads otherwise."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from graphs.reading.constants import constant_array
from optimizer.tensorrt8.rewriting import Spot

_FLOAT, _BOOL, _INT32 = ir.DataType.FLOAT, ir.DataType.BOOL, ir.DataType.INT32
_INTEGERS = (ir.DataType.INT32, ir.DataType.INT64)


def gelu(spot: Spot) -> bool:
    """x · (1 + erf(x / √2)) · ½, as PyTorch exports it, or the approximation by tanh."""
    x, one, half = spot.data(), spot.number(1.0), spot.number(0.5)
    if spot.node.attributes.get_string("approximate", "none") == "tanh":
        cube = spot.do("Mul", spot.do("Mul", x, x), x)
        inner = spot.do("Add", x, spot.do("Mul", cube, spot.number(0.044715)))
        bent = spot.do("Tanh", spot.do("Mul", inner, spot.number(math.sqrt(2 / math.pi))))
    else:
        bent = spot.do("Erf", spot.do("Div", x, spot.number(math.sqrt(2.0))))
    spot.deliver(spot.do("Mul", spot.do("Mul", x, spot.do("Add", bent, one)), half))
    return True


def mish(spot: Spot) -> bool:
    """x · tanh(softplus(x))."""
    x = spot.data()
    spot.deliver(spot.do("Mul", x, spot.do("Tanh", spot.do("Softplus", x))))
    return True


def is_inf(spot: Spot) -> bool:
    """Equal to an infinity; to the one that is asked for."""
    signs = {name: spot.node.attributes.get_int(f"detect_{name}", 1) for name in ("positive", "negative")}
    x = spot.data()
    if signs["positive"] and signs["negative"]:
        found = spot.compared("Equal", spot.do("Abs", x), spot.number(math.inf))
    elif signs["positive"] or signs["negative"]:
        found = spot.compared("Equal", x, spot.number(math.inf if signs["positive"] else -math.inf))
    else:
        found = spot.compared("Less", x, x)
    spot.deliver(found)
    return True


def cast_like(spot: Spot) -> bool:
    """A Cast to the type of the second input."""
    like = spot.input(1)
    if like is None or like.dtype is None:
        return False
    spot.become("Cast", [spot.data()], to=like.dtype.value)
    return True


def hardmax(spot: Spot) -> bool:
    """A one where the largest number comes first, zeros elsewhere: a TopK of one, one-hot."""
    data = spot.data()
    axis = spot.node.attributes.get_int("axis", -1)
    depth = None if data.shape is None else data.shape[axis]
    if not isinstance(depth, int):
        return False
    first = spot.do("ArgMax", data, dtype=ir.DataType.INT64, axis=axis, keepdims=0)
    values = spot.array("values", np.array([0, 1], np.float32))
    spot.deliver(
        spot.do("OneHot", first, spot.array("depth", np.array(depth, np.int64)), values, dtype=_FLOAT, axis=axis)
    )
    return True


def selu_digits(spot: Spot) -> bool:
    """The parser's own defaults are 1.6732 and 1.0507; the standard's have more digits."""
    if {"alpha", "gamma"} <= set(spot.node.attributes):
        return False
    spot.default("alpha", 1.67326319217681884765625)
    spot.default("gamma", 1.05070102214813232421875)
    return True


def float_exponent(spot: Spot) -> bool:
    """A float raised to an integer constant: to the same number as a float."""
    exponent = constant_array(spot.input(1))
    if spot.data().dtype != _FLOAT or exponent is None or exponent.dtype.kind not in "iu":
        return False
    spot.set_input(1, spot.array("exponent", exponent.astype(np.float32)))
    return True


def sign_of_integers(spot: Spot) -> bool:
    """The sign of an integer is that of the float next to it."""
    data = spot.data()
    if data.dtype not in _INTEGERS:
        return False
    result = spot.do("Sign", spot.do("Cast", data, dtype=_FLOAT, to=_FLOAT.value))
    spot.deliver(spot.do("Cast", result, dtype=data.dtype, to=data.dtype.value))
    return True


def place_among_integers(spot: Spot) -> bool:
    """The place of the largest (least) integer is that of the first that equals it, as a one among zeros."""
    node, data = spot.node, spot.data()
    if data.dtype not in _INTEGERS:
        return False
    axis = node.attributes.get_int("axis", 0)
    extreme = spot.do(node.op_type.replace("Arg", "Reduce"), data, axes=[axis], keepdims=1)
    equal = spot.compared("Equal", data, extreme)
    node.op_type = "ArgMax"
    spot.set_input(0, spot.do("Cast", equal, dtype=_FLOAT, to=_FLOAT.value))
    return True


def relu_of_integers(spot: Spot) -> bool:
    """An activation takes floats; the larger of two integers is there."""
    data = spot.data()
    if data.dtype not in _INTEGERS:
        return False
    spot.become("Max", [data, spot.array("zero", np.zeros((), data.dtype.numpy()))])
    return True


def bool_extreme(spot: Spot) -> bool:
    """The least or largest of truth values, which came with opset 20, is that of 0 and 1."""
    data = spot.data()
    if data.dtype != _BOOL:
        return False
    spot.set_input(0, spot.do("Cast", data, dtype=_INT32, to=_INT32.value))
    output = spot.node.outputs[0]
    name, graph = str(output.name), spot.node.graph
    assert graph is not None
    back = ir.node("Cast", [output], {"to": _BOOL.value}, name=spot.fresh_node(f"{name}_bool"))
    output.dtype = _INT32
    uses = [(user, index) for user, index in output.uses() if user is not back]
    back.outputs[0].type, back.outputs[0].shape = ir.TensorType(_BOOL), output.shape
    output.name, back.outputs[0].name = spot.fresh_value(f"{name}_integer"), name
    graph.insert_after(spot.node, [back])
    spot.made.append(back)
    for user, index in uses:
        user.replace_input_with(index, back.outputs[0])
    for index, value in enumerate(graph.outputs):
        if value is output:
            graph.outputs[index] = back.outputs[0]
    return True
