"""Write an LSTM that runs one step as the two matrix products and the gates it is.

Streaming models (voice activity, speech) call the network once per step and carry the state themselves. TensorRT runs
an LSTM node as a loop that nothing fuses with and no Q/DQ reaches; written out, the input product is an ordinary Gemm.
The recurrent one is marked, so that typing leaves it in high precision: its error would feed back into itself.

Formula of the ONNX operator, gates in the order input, output, forget, cell:
``C = f·C₀ + i·c``, ``H = o·tanh(C)`` with ``i, o, f = σ(…)`` and ``c = tanh(…)``.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphs.reading.constants import constant_array, constant_tensor
from graphs.reading.operators import is_standard
from graphs.writing.edits import GraphEdits
from optimizer.passes.base import PassResult
from optimizer.passes.infer_shapes import InferShapes

RECURRENT = "enginewright.recurrent"
"""Key in a node's metadata: the product of a recurrent weight with the state."""


class UnrollSingleStep:
    """Forward LSTMs over a sequence of one: constant weights, default activations, no peepholes, both states fed."""

    name = "unroll single-step LSTM"

    def apply(self, model: ir.Model) -> PassResult:
        if not any(node.op_type == "LSTM" for node in model.graph):
            return PassResult(0)
        edits = GraphEdits(model.graph)
        InferShapes().apply(model)  # branches that were folded away left their shapes unknown
        unrolled = [str(node.name) for node in list(model.graph) if _is_single_step(node) and _unroll(edits, node)]
        return PassResult(len(unrolled), tuple(f"{name}: one step written as matrix products" for name in unrolled))


def _is_single_step(node: ir.Node) -> bool:
    if node.op_type != "LSTM" or not is_standard(node):
        return False
    data = node.inputs[0]
    given = [len(node.inputs) > i and node.inputs[i] is not None for i in range(8)]
    one_step = data is not None and data.shape is not None and data.shape[0] == 1
    plain = not {"activations", "clip"} & set(node.attributes) and not node.attributes.get_int("input_forget", 0)
    forward = node.attributes.get_string("direction", "forward") == "forward" and not node.attributes.get_int(
        "layout", 0
    )
    constant = all(constant_tensor(value) is not None for value in node.inputs[1:4] if value is not None)
    return one_step and plain and forward and constant and not given[4] and given[5] and given[6] and not given[7]


def _unroll(edits: GraphEdits, lstm: ir.Node) -> bool:
    weight, recurrence = constant_array(lstm.inputs[1]), constant_array(lstm.inputs[2])
    assert weight is not None and recurrence is not None
    bias = constant_array(lstm.inputs[3])
    gates = weight.shape[1]
    both = np.zeros(gates, weight.dtype) if bias is None else bias[0, :gates] + bias[0, gates:]
    steps = _Steps(edits, lstm)
    data = steps.without_first_axis(lstm.inputs[0], "x")
    hidden = steps.without_first_axis(lstm.inputs[5], "h0")
    cell = steps.without_first_axis(lstm.inputs[6], "c0")
    from_input = steps.product(data, weight[0], both, "input")
    from_state = steps.product(hidden, recurrence[0], None, "recurrence")
    from_state.producer().metadata_props[RECURRENT] = lstm.op_type  # type: ignore[union-attr]
    i, o, f, c = steps.split(steps.add("Add", from_input, from_state, name="gates"), 4)
    kept = steps.add("Mul", steps.add("Sigmoid", f), cell)
    new = steps.add("Mul", steps.add("Sigmoid", i), steps.add("Tanh", c))
    cell = steps.add("Add", kept, new, name="cell")
    hidden = steps.add("Mul", steps.add("Sigmoid", o), steps.add("Tanh", cell), name="hidden")
    for index, (value, axes) in enumerate(((hidden, [0, 1]), (hidden, [0]), (cell, [0]))):
        if index < len(lstm.outputs):
            steps.replace(lstm.outputs[index], value, axes)
    assert lstm.graph is not None
    lstm.graph.remove(lstm, safe=True)
    return True


class _Steps:
    """Adds nodes in front of ``lstm``, named after it."""

    def __init__(self, edits: GraphEdits, lstm: ir.Node) -> None:
        assert lstm.inputs[0] is not None
        self._lstm, self._edits, self._count = lstm, edits.within(lstm.graph), 0
        self._dtype = lstm.inputs[0].dtype or ir.DataType.FLOAT

    def add(self, op_type: str, *inputs: ir.Value, name: str = "", **attributes: int) -> ir.Value:
        return self._node(op_type, inputs, 1, name, attributes)[0]

    def split(self, value: ir.Value, parts: int) -> list[ir.Value]:
        return self._node("Split", (value,), parts, "split", {"axis": 1, "num_outputs": parts})

    def without_first_axis(self, value: ir.Value | None, name: str) -> ir.Value:
        assert value is not None
        return self.add("Squeeze", value, self._axes([0], name), name=name)

    def product(self, data: ir.Value, weight: np.ndarray, bias: np.ndarray | None, name: str) -> ir.Value:
        """``data · weightᵀ + bias``."""
        arrays = [weight] if bias is None else [weight, bias]
        constants = [
            self._constant(array, f"{name}/{kind}") for array, kind in zip(arrays, ("weight", "bias"), strict=False)
        ]
        return self.add("Gemm", data, *constants, name=name, transB=1)

    def replace(self, output: ir.Value, value: ir.Value, axes: list[int]) -> None:
        if not output.uses() and not output.is_graph_output():
            return
        name, output.name = output.name, None
        new = self.add("Unsqueeze", value, self._axes(axes, f"out{len(axes)}"))
        new.name, new.type, new.shape = name, output.type, output.shape
        output.replace_all_uses_with(new, replace_graph_outputs=True)

    def _node(
        self, op_type: str, inputs: tuple[ir.Value, ...], outputs: int, name: str, attributes: dict[str, int]
    ) -> list[ir.Value]:
        self._count += 1
        full = f"{self._lstm.name}/{name or f'{op_type}_{self._count}'}"
        node = ir.node(op_type, list(inputs), attributes, num_outputs=outputs, name=self._edits.names.node(full))
        for index, value in enumerate(node.outputs):
            value.name = self._edits.names.value(f"{full}_output_{index}")
            value.type = ir.TensorType(self._dtype)
        self._edits.graph.insert_before(self._lstm, node)
        return list(node.outputs)

    def _axes(self, axes: list[int], name: str) -> ir.Value:
        return self._constant(np.array(axes, np.int64), f"{name}/axes")

    def _constant(self, array: np.ndarray, name: str) -> ir.Value:
        return self._edits.constant(f"{self._lstm.name}/{name}", np.ascontiguousarray(array))
