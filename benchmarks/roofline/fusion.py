"""From a typed ONNX graph to the kernels an engine makes of it, with the bytes each must read and write."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import onnx_ir as ir

from benchmarks.roofline.grouping import Group, Grouping
from benchmarks.roofline.kernels import Kernel
from graphs.reading.shapes import static_shape, with_shapes

_STORED_BEHIND = ("DequantizeLinear", "Transpose", "Reshape", "Identity")


def kernels(model: ir.Model, shapes: Mapping[str, Sequence[int]]) -> list[Kernel]:
    """The kernels of one sample of ``shapes`` (input name -> sizes, the batch being 1), in an order they can run in."""
    graph = with_shapes(model, shapes).graph
    _name(graph)
    traffic = _Traffic(Grouping(graph), graph.outputs)
    return [traffic.kernel(group) for group in traffic.grouping.in_order()]


def _name(graph: ir.Graph) -> None:
    """A name of its own for every node, since costs are kept by name: exporters leave nodes unnamed or reuse names."""
    seen: set[str] = set()
    for node in graph.all_nodes():
        if not node.name or node.name in seen:
            node.name = str(node.outputs[0].name) if node.outputs else f"{node.op_type}_{len(seen)}"
        seen.add(node.name)


class _Traffic:
    """What crosses from kernel to kernel through memory."""

    def __init__(self, grouping: Grouping, outputs: Iterable[ir.Value]) -> None:
        self.grouping = grouping
        self._written: dict[int, dict[ir.Value, None]] = {}
        for value in outputs:
            self._write(value, None)
        for group in grouping.in_order():
            for value in group.reads():
                self._write(value, group)

    def _write(self, value: ir.Value, reader: Group | None) -> None:
        for root in self.grouping.roots(value):
            maker = self.grouping.home.get(root)
            if maker is not None and maker is not reader:
                self._written.setdefault(maker.index, {})[root] = None

    def kernel(self, group: Group) -> Kernel:
        return Kernel(
            name=group.products[0].node if group.products else str(group.nodes[0].name),
            kind=_kind(group),
            nodes=tuple(str(node.name) for node in group.nodes),
            products=tuple(group.products),
            weight_bytes=self._weight_bytes(group),
            activation_bytes=self._read_bytes(group) + self._sizes(self._written.get(group.index, {})),
            known=group.known,
        )

    def _read_bytes(self, group: Group) -> int:
        """Bytes of activations made elsewhere; of a table that is looked up, as many as the rows it yields."""
        parts: dict[tuple[ir.Value, ...], dict[ir.Value, int]] = {}
        for value in group.reads():
            roots = tuple(root for root in self.grouping.roots(value) if self.grouping.home.get(root) is not group)
            if roots:
                parts.setdefault(roots, {})[value] = self._view_bytes(value, roots)
        read = sum(min(sum(views.values()), self._sizes(roots)) for roots, views in parts.items())
        return read + (self._size(group.nodes[0].outputs[0]) if _looks_up(group) else 0)

    def _view_bytes(self, value: ir.Value, roots: tuple[ir.Value, ...]) -> int:
        """A slice reads its own part, in the type the data is stored in."""
        if len(roots) > 1:
            return self._sizes(roots)
        whole = max(_elements(roots[0]), 1)
        return self._size(roots[0]) * min(_elements(value) or whole, whole) // whole

    def _weight_bytes(self, group: Group) -> int:
        table = group.nodes[0].inputs[0] if _looks_up(group) else None
        constants = {value for value in group.reads() if value in self.grouping.constants and value is not table}
        return sum(_elements(value) * _stored_bits(value) // 8 for value in constants)

    def _sizes(self, values: Iterable[ir.Value]) -> int:
        return sum(self._size(value) for value in values)

    def _size(self, root: ir.Value) -> int:
        return _elements(root) * self.grouping.stored_bits.get(root, _bits(root)) // 8


def _looks_up(group: Group) -> bool:
    return group.nodes[0].op_type == "Gather"


def _kind(group: Group) -> str:
    """``conv``, ``depthwise``, ``gemm``, ``attention`` or ``memory``."""
    if not group.products:
        return "memory"
    first = group.products[0]
    if first.unit == "vector":
        return "depthwise"
    if "Conv" in group.nodes[0].op_type:
        return "conv"
    return "attention" if first.groups > 1 else "gemm"


def _elements(value: ir.Value) -> int:
    shape = static_shape(value)
    return math.prod(shape) if shape is not None else 0


def _bits(value: ir.Value) -> int:
    dtype = value.dtype if value.dtype is not None else ir.DataType.FLOAT
    return dtype.bitwidth if dtype != ir.DataType.STRING else 0


def _stored_bits(value: ir.Value) -> int:
    """Bits per element of a constant, seen through Q/DQ: floats behind a Q/DQ pair become codes in the engine."""
    producer = value.producer()
    if producer is None or producer.op_type not in _STORED_BEHIND or producer.inputs[0] is None:
        return _bits(value)
    return _stored_bits(producer.inputs[0])
