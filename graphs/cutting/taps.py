"""A graph cut open: tensors of its main graph, or numbers about them, become its outputs.

Tensors inside a branch or a loop body have one value per run of the body, or none, so they are not to be had.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import numpy as np
import onnx_ir as ir

from graphs.writing.free_names import FreeNames

_BOOL, _FLOAT, _INT64 = ir.DataType.BOOL, ir.DataType.FLOAT, ir.DataType.INT64
Key = TypeVar("Key", bound=Hashable)


def cut_at(model: ir.Model, names: Collection[str]) -> ir.Model:
    """A copy (weights shared) whose outputs are the node outputs called ``names``, in graph order."""
    copy = model.clone()
    copy.graph.outputs.clear()
    copy.graph.outputs.extend(value for node in copy.graph for value in node.outputs if value.name in names)
    return copy


@contextmanager
def exposed(model: ir.Model, values: Sequence[ir.Value]) -> Iterator[None]:
    """``values`` as graph outputs, in place of the model's own, for the time being."""
    outputs = model.graph.outputs
    own = list(outputs)
    outputs.clear()
    outputs.extend(values)
    try:
        yield
    finally:
        outputs.clear()
        outputs.extend(own)


class Taps(Generic[Key]):
    """Puts reductions behind tensors of ``model``; ``cut`` makes what was kept its only outputs.

    ``Key`` is what a result is known by. A graph may be tapped again. Tensors are tapped in the order in which they are
    made: ONNX Runtime (1.32) turns to the last node that nothing reads first, and what that needs, so that a tensor is
    let go of before the next is made only if the node that reads it comes after that of the next. The other way round
    all of them were held to the end: of MobileNetV2's, four samples at once, 439 MB in place of 103, in twice the time.
    """

    def __init__(self, model: ir.Model) -> None:
        self.model = model
        self._names = FreeNames(model.graph)
        self._kept: dict[Key, ir.Value] = {}
        self._numbers: dict[float, ir.Value] = {}
        self._made: dict[ir.Node, None] = {}

    def keep(self, key: Key, value: ir.Value) -> None:
        """Read ``value`` under ``key``."""
        self._kept[key] = value

    def cut(self) -> dict[Key, str]:
        """Let the graph give what was kept, and nothing else; returns the output's name of each key."""
        self._reverse()
        outputs = self.model.graph.outputs
        outputs.clear()
        outputs.extend(dict.fromkeys(self._kept.values()))
        return {key: str(value.name) for key, value in self._kept.items()}

    def _reverse(self) -> None:
        """Put what was kept last before what was kept first, each behind what it is made of."""
        order: dict[ir.Node, None] = {}

        def put(node: ir.Node | None) -> None:
            if node in self._made and node not in order:
                for value in node.inputs:
                    put(value.producer() if value is not None else None)
                order[node] = None

        for value in reversed(self._kept.values()):
            put(value.producer())
        order |= self._made
        self.model.graph.remove(order)
        self.model.graph.extend(order)

    def do(self, op_type: str, *inputs: ir.Value, dtype: ir.DataType = _FLOAT, **attributes: Any) -> ir.Value:
        """The output of a new operator behind everything else."""
        node = ir.node(op_type, list(inputs), attributes or None, name=self._names.node(f"enginewright/{op_type}"))
        output = node.outputs[0]
        output.name, output.type = self._names.value(f"enginewright/{op_type}"), ir.TensorType(dtype)
        self.model.graph.append(node)
        self._made[node] = None
        return output

    def constant(self, values: np.ndarray) -> ir.Value:
        """A Constant of the array's own type."""
        return self.do("Constant", dtype=ir.DataType.from_numpy(values.dtype), value=ir.Tensor(values))

    def integers(self, values: int | Sequence[int]) -> ir.Value:
        return self.constant(np.array(values, np.int64))

    def number(self, value: float) -> ir.Value:
        """A float32 scalar, made once."""
        if value not in self._numbers:
            self._numbers[value] = self.constant(np.array(value, np.float32))
        return self._numbers[value]

    def test(self, op_type: str, value: ir.Value, bound: float) -> ir.Value:
        return self.do(op_type, value, self.number(bound), dtype=_BOOL)

    def where(self, condition: ir.Value, value: ir.Value, otherwise: float) -> ir.Value:
        return self.do("Where", condition, value, self.number(otherwise))

    def size(self, value: ir.Value) -> ir.Value:
        return self.do("Size", value, dtype=_INT64)

    def reduced(self, op_type: str, value: ir.Value, axes: Sequence[int] = ()) -> ir.Value:
        """``ReduceMin`` and the like along ``axes``, all of them by default; no dimension is kept."""
        opset = self.model.opset_imports.get("", 21)
        if not axes:
            return self.do(op_type, value, keepdims=0)
        if opset >= 18 or op_type == "ReduceSum":
            return self.do(op_type, value, self.integers(axes), keepdims=0)
        return self.do(op_type, value, keepdims=0, axes=list(axes))

    def largest(self, value: ir.Value) -> ir.Value:
        return self.reduced("ReduceMax", value)

    def least(self, value: ir.Value) -> ir.Value:
        return self.reduced("ReduceMin", value)

    def power(self, value: ir.Value) -> ir.Value:
        """Sum of squares."""
        return self.reduced("ReduceSumSquare", value)
