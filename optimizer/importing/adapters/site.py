"""The place where one node is brought from one opset to the next: its operands, and the nodes put in front of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from graphs.reading.constants import Array, constant_array, input_at
from graphs.writing.free_names import FreeNames


class CannotConvert(Exception):
    """An operator of an old opset that has no equal in the new one, or whose meaning cannot be told; one sentence."""


class NotYet(CannotConvert):
    """A rank or type is not known, which may change once the nodes before have been converted."""


class Site:
    """A node, and ways to change it. ``names`` gives those that are free in the model; ``last`` says that nothing
    more will become known.
    """

    def __init__(self, node: ir.Node, names: FreeNames, last: bool) -> None:
        self.node, self._names, self.last = node, names, last

    def input(self, index: int) -> ir.Value | None:
        """Input ``index``, None where it is left out."""
        return input_at(self.node, index)

    def data(self) -> ir.Value:
        """Input 0, which must be there."""
        value = self.input(0)
        if value is None:
            raise CannotConvert("it has no input")
        return value

    def rank(self, index: int, why: str) -> int:
        """Rank of an input. Raises ``NotYet`` where inference does not know it."""
        value = self.input(index)
        shape = None if value is None else value.shape
        if shape is None and value is not None and value.const_value is not None:
            shape = ir.Shape(value.const_value.shape.numpy())
        if shape is None:
            name = "?" if value is None else value.name
            raise NotYet(f"the rank of {name!r} is not known, and {why} depends on it")
        return len(shape)

    def dtype(self) -> np.dtype[np.generic]:
        """numpy dtype of input 0. Raises ``NotYet`` where inference does not know it."""
        value = self.data()
        dtype = value.dtype if value.dtype is not None else getattr(value.const_value, "dtype", None)
        if dtype is None:
            raise NotYet(f"the type of {value.name!r} is not known")
        return np.dtype(dtype.numpy())

    def shape(self) -> ir.Shape | None:
        """Shape of input 0; None where nobody will ever know it. Raises ``NotYet`` where it may yet become known."""
        shape = self.data().shape
        if shape is None and not self.last:
            raise NotYet(f"the shape of {self.data().name!r} is not known")
        return shape if isinstance(shape, ir.Shape) else None

    def pop(self, name: str) -> ir.Attr | None:
        """Take an attribute away."""
        return self.node.attributes.pop(name, None)

    def pop_ints(self, name: str) -> list[int] | None:
        """Take an attribute of several integers away."""
        attribute = self.pop(name)
        return None if attribute is None else list(attribute.as_ints())

    def default(self, name: str, value: int | float | str) -> None:
        """Write an old default down, for a newer opset has another."""
        if name not in self.node.attributes:
            self.node.attributes[name] = ir.convenience.convert_attribute(name, value)

    def set_input(self, index: int, value: ir.Value | None) -> None:
        if len(self.node.inputs) <= index:
            self.node.resize_inputs(index + 1)
        self.node.replace_input_with(index, value)

    def constant_input(self, index: int) -> Array | None:
        """The constant behind an input; None where there is none."""
        return constant_array(self.input(index))

    def constant(self, name: str, values: Sequence[int] | Array) -> ir.Value:
        """A Constant node in front of the node: int64 where ``values`` are Python integers."""
        array = values if isinstance(values, np.ndarray) else np.array(values, np.int64)
        return self.add("Constant", [], name, value=ir.tensor(np.asarray(array, order="C")))

    def add(self, op_type: str, inputs: Sequence[ir.Value | None], name: str, **attributes: object) -> ir.Value:
        """The output of a new node of the newest form in front of the node, named after it."""
        new = ir.node(op_type, list(inputs), attributes, name=self._names.node(f"{self.node.name}_{name}"))  # type: ignore[arg-type]
        new.outputs[0].name = self._names.value(f"{self.node.name}_{name}")
        if inputs and inputs[0] is not None and inputs[0].dtype is not None and op_type not in ("Shape", "Cast"):
            new.outputs[0].dtype = inputs[0].dtype
        assert self.node.graph is not None
        self.node.graph.insert_before(self.node, new)
        return new.outputs[0]

    def become(self, op_type: str, inputs: Sequence[ir.Value | None], **attributes: object) -> None:
        """Let the node be another operator, with these inputs and attributes only."""
        self.node.op_type = op_type
        self.node.resize_inputs(len(inputs))
        for index, value in enumerate(inputs):
            self.node.replace_input_with(index, value)
        self.node.attributes.clear()
        for key, attribute in attributes.items():
            self.node.attributes[key] = ir.convenience.convert_attribute(key, attribute)  # type: ignore[arg-type]

    def hand_over(self, index: int, value: ir.Value) -> None:
        """Let ``value`` stand for output ``index``, under its name."""
        output = self.node.outputs[index]
        value.name, output.name = output.name, value.name
        value.type, value.shape = output.type, output.shape
        output.replace_all_uses_with(value, replace_graph_outputs=True)

    def drop_unused_outputs(self, keep: int) -> None:
        """Cut the outputs behind the first ``keep``. Raises ``CannotConvert`` where one of them is used."""
        used = [o for o in self.node.outputs[keep:] if o.uses() or o.is_graph_output()]
        if used:
            raise CannotConvert(f"its output {used[0].name!r} is not there in newer opsets")
        self.node.resize_outputs(min(keep, len(self.node.outputs)))
