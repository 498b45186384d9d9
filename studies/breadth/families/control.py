"""Control flow: branches on constants and on data, loops with a fixed count, each with its subgraph."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper

from studies.breadth.draft import Array, Draft, Rejected, Value, info, initializer


def branch(d: Draft) -> object:
    """An If whose condition is a constant, or computed from the data."""
    value = d.pick(2, 3, 4)
    if d.opset < 11:
        raise Rejected
    condition = d.constant(np.asarray(d.chance(0.5))) if d.chance(0.4) else _some_truth(d, value)
    shape = value.array.shape
    then = _body(d, "then", [("Relu", [value.name])], [], shape, value)
    factor = d.constant(np.float64(0.5))
    otherwise = _body(d, "else", [("Mul", [value.name, factor.name])], [], shape, value)
    node = helper.make_node("If", [condition.name], [d.fresh("if")], name=d.fresh("If"))
    node.attribute.extend([helper.make_attribute("then_branch", then), helper.make_attribute("else_branch", otherwise)])
    return d.append(node, [condition, value, factor])


def _some_truth(d: Draft, value: Value) -> Value:
    total = d.add("ReduceMax", [value], keepdims=0)
    found: Value = d.add("Greater", [total, d.constant(np.float64(0))])
    return found


def _body(
    d: Draft,
    name: str,
    steps: list[tuple[str, list[str]]],
    inputs: list[onnx.ValueInfoProto],
    shape: tuple[int, ...],
    like: Value,
) -> onnx.GraphProto:
    """A subgraph that applies ``steps`` one after another and gives the last result."""
    nodes = []
    for op, operands in steps:
        nodes.append(helper.make_node(op, operands, [d.fresh(f"{name}_{op.lower()}")], name=d.fresh(op)))
    out = _of_any_size(nodes[-1].output[0], like.array.reshape(shape))
    return helper.make_graph(nodes, name, inputs, [out])


def _of_any_size(name: str, array: Array) -> onnx.ValueInfoProto:
    """A subgraph's tensor: its rank is declared, its sizes are the batch's."""
    return info(name, array, {axis: f"{name}_{axis}" for axis in range(array.ndim)})


def loop(d: Draft) -> object:
    """A Loop that multiplies its state by a weight, a fixed number of times."""
    value = d.pick(2, 3)
    if d.opset < 11:
        raise Rejected
    width = value.array.shape[-1]
    weight = d.weight(width, width, fan_in=width)
    count, go = d.integers([int(d.rng.integers(1, 4))]), d.constant(np.asarray([True]))
    step, keep, state = d.fresh("step"), d.fresh("keep"), d.fresh("state")
    result, kept = d.fresh("product"), d.fresh("kept")
    inside = helper.make_graph(
        [
            helper.make_node("MatMul", [state, weight.name], [d.fresh("inner")], name=d.fresh("MatMul")),
            helper.make_node("Identity", [keep], [kept], name=d.fresh("Identity")),
        ],
        "body",
        [info(step, np.zeros((), np.int64)), info(keep, np.zeros((), bool)), _of_any_size(state, value.array)],
        [info(kept, np.zeros((), bool)), _of_any_size(result, value.array)],
    )
    inside.node.insert(1, helper.make_node("Tanh", [inside.node[0].output[0]], [result], name=d.fresh("Tanh")))
    if d.chance(0.3):  # a weight of the body's own
        inside.initializer.append(initializer(weight))
        d.weights.pop(weight.name, None) if not _used(d, weight) else inside.initializer.pop()
    node = helper.make_node("Loop", [count.name, go.name, value.name], [d.fresh("loop")], name=d.fresh("Loop"))
    node.attribute.append(helper.make_attribute("body", inside))
    own = bool(inside.initializer)
    return d.append(node, [count, go, value, *([] if own else [weight])])


def _used(d: Draft, weight: Value) -> bool:
    return any(weight.name in node.input for node in d.nodes)


STEPS = (branch, loop)
