"""Write an Einsum of data and a weight as the matrix product it is.

Keras (EinsumDense), Flax and ``torch.einsum`` leave dense layers and the projections of attention as ``bld,dhk->blhk``.
No runtime has an INT8 Einsum, and Q/DQ, corrections, sparsity and weight formats look for products; so
``x, w`` becomes ``MatMul`` of ``x[kept…, summed]`` and ``w[summed, made]`` between the transposes and reshapes that
the runtime would do itself.
"""

from __future__ import annotations

import math
import string
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from graphs.reading.constants import constant_tensor
from graphs.reading.operators import is_standard
from graphs.writing.edits import GraphEdits, dtype_of
from optimizer.passes.base import PassResult
from optimizer.passes.infer_shapes import InferShapes

_ELLIPSIS = "..."
_AS_IT_IS = 0
"""In the shape that Reshape is given: the size that the axis has."""


@dataclass(frozen=True)
class _Product:
    """Labels of an equation, one letter per axis: ``data``, ``weight`` and ``result`` as they stand; ``kept`` axes are
    data's own, ``summed`` are of both, ``made`` are the weight's own.
    """

    data: str
    weight: str
    result: str
    kept: str
    summed: str
    made: str


class EinsumProducts:
    """Of two operands one is constant, each label of it is either summed over or new, and none stands twice."""

    name = "write einsum as matrix products"

    def apply(self, model: ir.Model) -> PassResult:
        found = [node for graph in model.graphs() for node in graph if _has_a_weight(node)]
        if not found:
            return PassResult(0)
        InferShapes().apply(model)  # an ellipsis stands for as many axes as the data has more than letters
        edits = GraphEdits(model.graph)
        written = [str(node.name) for node in found if _write(edits.within(node.graph), node)]
        note = f"{len(written)} einsum of data and weight written as matrix products: {', '.join(written[:3])}"
        return PassResult(len(written), (note + (" …" if len(written) > 3 else ""),) if written else ())


def _has_a_weight(node: ir.Node) -> bool:
    if node.op_type != "Einsum" or not is_standard(node) or len(node.inputs) != 2:
        return False
    return [constant_tensor(value) is not None for value in node.inputs] in ([True, False], [False, True])


def _write(edits: GraphEdits, node: ir.Node) -> bool:
    place = next(i for i, value in enumerate(node.inputs) if constant_tensor(value) is not None)
    data, weight = node.inputs[1 - place], node.inputs[place]
    assert data is not None and weight is not None
    tensor, product = constant_tensor(weight), _product(node, place, data)
    if product is None or tensor is None or len(tensor.shape) != len(product.weight):
        return False
    sizes = dict(zip(product.weight, (int(size) for size in tensor.shape.numpy()), strict=True))
    summed, made = (math.prod(sizes[label] for label in labels) for labels in (product.summed, product.made))
    kept = [_AS_IT_IS] * len(product.kept)
    steps = _Steps(edits, node)
    rows = steps.ordered(data, product.data, product.kept + product.summed, "data")
    if len(product.summed) > 1:
        rows = steps.reshaped(rows, [*kept, summed], "data")
    columns = steps.ordered(weight, product.weight, product.summed + product.made, "weight")
    if len(product.weight) > 2:
        columns = steps.reshaped(columns, [summed, made], "weight")
    result = steps.add("MatMul", [rows, columns], "product")
    written = result.producer()
    if len(product.made) > 1:
        result = steps.reshaped(result, [*kept, *(sizes[label] for label in product.made)], "result")
    result = steps.ordered(result, product.kept + product.made, product.result, "result")
    steps.replace_by(result)
    assert written is not None
    written.name = node.name  # what a plan or a note says of the einsum is said of its product
    return True


def _product(node: ir.Node, place: int, data: ir.Value) -> _Product | None:
    """The equation as a matrix product; None where it is none."""
    equation = node.attributes.get_string("equation", "") or ""
    terms, arrow, result = equation.replace(" ", "").partition("->")
    operands = terms.split(",")
    if not arrow or len(operands) != 2 or _ELLIPSIS in operands[place]:
        return None
    weight, own = operands[place], operands[1 - place]
    if _ELLIPSIS in own + result:
        count = None if data.shape is None else len(data.shape) - len(own.replace(_ELLIPSIS, ""))
        free = [letter for letter in string.ascii_letters if letter not in equation]
        if count is None or not 0 <= count <= len(free):
            return None
        own, result = (term.replace(_ELLIPSIS, "".join(free[:count])) for term in (own, result))
    if any(len(set(term)) < len(term) for term in (weight, own, result)):
        return None
    summed = "".join(label for label in own if label in weight and label not in result)
    made = "".join(label for label in result if label not in own)
    kept = [label for label in own if label not in summed]
    if not own.endswith(summed):  # the data is to be transposed anyway: into the order that the result needs
        kept = [label for label in result if label in own]
    product = _Product(own, weight, result, "".join(kept), summed, made)
    whole = set(weight) == set(summed + made) and set(result) == set(product.kept + made)
    return product if whole and summed and made else None


class _Steps:
    """Adds nodes in front of ``einsum``, named after it."""

    def __init__(self, edits: GraphEdits, einsum: ir.Node) -> None:
        assert isinstance(einsum.graph, ir.Graph)
        self._edits, self._einsum, self._graph = edits, einsum, einsum.graph
        self._dtype = dtype_of(einsum.outputs[0])

    def add(self, op_type: str, inputs: list[ir.Value], role: str, **attributes: list[int]) -> ir.Value:
        name = f"{self._einsum.name}/{role}"
        node = ir.node(op_type, inputs, dict(attributes), name=self._edits.names.node(name))
        self._edits.describe(node.outputs[0], name, self._dtype, None)
        self._graph.insert_before(self._einsum, node)
        return node.outputs[0]

    def ordered(self, value: ir.Value, labels: str, wanted: str, role: str) -> ir.Value:
        """``value``, whose axes are ``labels``, with its axes in the order ``wanted``."""
        if labels == wanted:
            return value
        return self.add("Transpose", [value], f"{role}/ordered", perm=[labels.index(label) for label in wanted])

    def reshaped(self, value: ir.Value, shape: list[int], role: str) -> ir.Value:
        name = f"{self._einsum.name}/{role}/shape"
        return self.add("Reshape", [value, self._edits.constant(name, np.array(shape, np.int64))], f"{role}/reshaped")

    def replace_by(self, result: ir.Value) -> None:
        """Everybody reads ``result`` in place of the einsum's output, whose name and shape it takes."""
        output = self._einsum.outputs[0]
        name, output.name = output.name, None
        result.name, result.type, result.shape = name, output.type, output.shape
        output.replace_all_uses_with(result, replace_graph_outputs=True)
        self._graph.remove(self._einsum, safe=True)
