"""Which nodes run in one kernel.

The rules are TensorRT's own in broad strokes (developer guide, "Types of Fusions" and explicit quantization): pointwise
operators, casts and QuantizeLinear run in the epilogue of the kernel that made their operand; DequantizeLinear runs in
the prologue of its reader; reshapes, transposes, slices and concatenations move nothing; attention in FP16 or INT8
(product, scale, softmax, product) is one kernel; normalisations are one kernel with the pointwise operators before
them. So an elementwise operator behind a convolution costs no traffic of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import TopologicalSorter

import onnx_ir as ir

from benchmarks.roofline.kernels import Product
from benchmarks.roofline.products import product
from graphs.reading.macs import NodeCost, graph_costs

VIEWS = {
    *("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Transpose", "Slice", "Split", "Concat", "Expand"),
    *("DequantizeLinear", "Dropout", "Shape", "Size"),
}
POINTWISE = {
    *("Add", "Sub", "Mul", "Div", "Pow", "Neg", "Abs", "Sqrt", "Reciprocal", "Exp", "Log", "Erf", "Min", "Max", "Mean"),
    *(
        "Sum",
        "Relu",
        "LeakyRelu",
        "PRelu",
        "Clip",
        "Sigmoid",
        "HardSigmoid",
        "HardSwish",
        "Tanh",
        "Elu",
        "Selu",
        "Celu",
    ),
    *("Softplus", "Softsign", "Gelu", "Mish", "Swish", "ThresholdedRelu", "Where", "Equal", "Greater", "Less", "Not"),
    *("GreaterOrEqual", "LessOrEqual", "And", "Or", "Xor", "Floor", "Ceil", "Round", "Sign", "Sin", "Cos", "Cast"),
    *("QuantizeLinear", "IsNaN", "BatchNormalization", "Mod", "BitShift"),
}
REDUCTIONS = {
    *("Softmax", "LogSoftmax", "LayerNormalization", "SimplifiedLayerNormalization", "RMSNormalization"),
    *("InstanceNormalization", "GroupNormalization", "LpNormalization", "ReduceMean", "ReduceSum", "ReduceMax"),
    *("ReduceMin", "ReduceL2", "ReduceSumSquare"),
}


@dataclass
class Group:
    """A kernel being filled. ``loose`` ones hold pointwise operators and reductions only and may take more reductions;
    ``needs`` are the groups whose results it reads."""

    index: int
    nodes: list[ir.Node] = field(default_factory=list)
    needs: set[int] = field(default_factory=set)
    products: list[Product] = field(default_factory=list)
    loose: bool = False
    known: bool = True

    @property
    def attention(self) -> bool:
        """Holds a product of two activations in a type that fused attention takes."""
        return bool(self.products) and self.products[0].groups > 1 and self.products[0].dtype != "fp32"

    def has(self, op_type: str) -> bool:
        return any(node.op_type == op_type for node in self.nodes)

    def reads(self) -> Iterator[ir.Value]:
        """Every operand of every node, operands made inside included."""
        for node in self.nodes:
            yield from (value for value in node.inputs if value is not None)


class Grouping:
    """All groups of a concrete graph, and behind each value the values that are really stored for it.

    ``home`` maps a stored value to the group that makes it; ``constants`` need no kernel; ``stored_bits`` overrides the
    type of a value that is quantized on the way out.
    """

    def __init__(self, graph: ir.Graph) -> None:
        self.home: dict[ir.Value, Group] = {}
        self.constants: set[ir.Value] = set(graph.initializers.values())
        self.stored_bits: dict[ir.Value, int] = {}
        self._groups: list[Group] = []
        self._roots: dict[ir.Value, tuple[ir.Value, ...]] = {}
        self._costs: Mapping[str, NodeCost] = graph_costs(graph)
        for node in graph:
            self._place(node)

    def in_order(self) -> list[Group]:
        """As they must run: a group can need one of a higher index, whose result its epilogue reads."""
        waits = {group.index: sorted(group.needs) for group in self._groups}
        return [self._groups[index] for index in TopologicalSorter(waits).static_order()]

    def roots(self, value: ir.Value) -> tuple[ir.Value, ...]:
        """The stored values that ``value`` is a view of; none for a constant."""
        return self._roots.get(value, () if value in self.constants else (value,))

    def _place(self, node: ir.Node) -> None:
        if all(value is None or value in self.constants for value in node.inputs) and not _has_body(node):
            self.constants.update(node.outputs)
        elif node.op_type in VIEWS or self._slices(node) or self._quantizes_parts(node):
            self._view(node)
        else:
            self._compute(node)

    def _slices(self, node: ir.Node) -> bool:
        """A Gather that takes fixed places of an activation is a slice; one that looks up a table is not."""
        return node.op_type == "Gather" and node.inputs[0] not in self.constants and node.inputs[1] in self.constants

    def _quantizes_parts(self, node: ir.Node) -> bool:
        """QuantizeLinear behind a concatenation moves into the kernel of each part, where nobody else reads it."""
        if node.op_type != "QuantizeLinear" or node.inputs[0] is None:
            return False
        roots = self.roots(node.inputs[0])
        if len(roots) < 2 or any(len(root.uses()) > 1 for root in roots):
            return False
        dtype = node.outputs[0].dtype
        self.stored_bits.update(dict.fromkeys(roots, dtype.bitwidth if dtype is not None else 8))
        return True

    def _view(self, node: ir.Node) -> None:
        sources = node.inputs if node.op_type == "Concat" else node.inputs[:1]
        roots = tuple(root for value in sources if value is not None for root in self.roots(value))
        self._roots.update(dict.fromkeys(node.outputs, roots))

    def _compute(self, node: ir.Node) -> None:
        group = self._group_for(node)
        group.nodes.append(node)
        group.needs |= {maker.index for maker in self._makers(node)} - {group.index}
        for output in node.outputs:
            self.home[output] = group
            self._roots[output] = (output,)

    def _group_for(self, node: ir.Node) -> Group:
        cost = self._costs.get(str(node.name), NodeCost(node.op_type, 0, 0, 0))
        makers = self._makers(node)
        found = product(node, cost)
        if found is not None:
            return self._product_group(found, makers)
        group = self._joined(node, makers)
        if group is None:
            group = self._new()
            group.loose = node.op_type in POINTWISE or node.op_type in REDUCTIONS
            group.known = cost.known and not _has_body(node)
        return group

    def _product_group(self, found: Product, makers: Sequence[Group]) -> Group:
        latest = _latest(makers)
        joins = latest is not None and latest.attention and latest.has("Softmax") and found.groups > 1
        group = latest if joins and latest is not None else self._new()
        group.products.append(found)
        return group

    def _joined(self, node: ir.Node, makers: Sequence[Group]) -> Group | None:
        """The group a pointwise operator or a reduction runs in; None where it needs one of its own."""
        latest = _latest(makers)
        if latest is None or any(value is not None and len(self.roots(value)) > 1 for value in node.inputs):
            return None  # a concatenation is read by a kernel of its own
        if node.op_type in POINTWISE:
            return self._epilogue(node, makers) or latest
        if node.op_type in REDUCTIONS and (latest.loose or (node.op_type == "Softmax" and latest.attention)):
            return latest
        return None

    def _epilogue(self, node: ir.Node, makers: Sequence[Group]) -> Group | None:
        """The group of an operand that is not read back from integers: its value never leaves the registers.

        Joining the group made last can close no circle; an earlier one only where no other operand waits for it.
        """
        values = [value for value in node.inputs if value is not None and not _dequantized(value)]
        fresh = [self.home[roots[0]] for value in values if (roots := self.roots(value)) and roots[0] in self.home]
        legal = [group for group in fresh if all(other is group or not self._waits(other, group) for other in makers)]
        return _latest(legal)

    def _waits(self, group: Group, other: Group) -> bool:
        """Whether ``group`` needs ``other``, directly or through groups between."""
        seen, left = {group.index}, [group.index]
        while left:
            fresh = self._groups[left.pop()].needs - seen
            if other.index in fresh:
                return True
            seen |= fresh
            left.extend(fresh)
        return False

    def _makers(self, node: ir.Node) -> list[Group]:
        roots = [root for value in node.inputs if value is not None for root in self.roots(value)]
        return [self.home[root] for root in roots if root in self.home]

    def _new(self) -> Group:
        self._groups.append(Group(len(self._groups)))
        return self._groups[-1]


def _latest(groups: Sequence[Group]) -> Group | None:
    return max(groups, key=lambda group: group.index, default=None)


def _has_body(node: ir.Node) -> bool:
    return any(attribute.type == ir.AttributeType.GRAPH for attribute in node.attributes.values())


def _dequantized(value: ir.Value) -> bool:
    producer = value.producer()
    return producer is not None and producer.op_type == "DequantizeLinear"
