"""Pruning by magnitude alone: of every four weights the two largest stay. Needs no data."""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir

from graphs.reading.constants import constant_tensor
from graphs.writing.edits import GraphEdits, drop_if_unread
from graphs.writing.lazy_tensors import lazily
from optimizer.passes.base import PassResult
from optimizer.sparsity.eligible import SparseWeight, survey
from optimizer.sparsity.pattern import Array, prune_two_four


class PruneTwoFour:
    """Prunes every eligible weight to 2:4 by magnitude, in place, when the weight is next read.

    The notes say for every weighted node whether it was pruned or why not. Prune before quantizing: INT8 keeps zeros.
    """

    name = "prune 2:4"

    def apply(self, model: ir.Model) -> PassResult:
        edits, found = GraphEdits(model.graph), survey(model)
        for weight in found:
            if weight.prunable:
                prune_weight(edits, weight)
        pruned = sum(len(weight.nodes) for weight in found if weight.prunable)
        return PassResult(pruned, tuple(note for weight in found for note in weight.notes()))


def prune_weight(edits: GraphEdits, weight: SparseWeight) -> ir.Value:
    """Give the readers of ``weight`` its largest two of every four, computed when it is read; returns the new value."""
    axis = weight.axis
    return give_weight(edits, weight, lambda old: prune_two_four(old, axis))


def give_weight(edits: GraphEdits, weight: SparseWeight, edit: Callable[[Array], Array]) -> ir.Value:
    """Give all readers of ``weight`` what ``edit`` makes of it, of the same shape, computed when it is read. It has the
    name of the old one, which goes, unless others read that.
    """
    old = weight.nodes[0].inputs[1]
    tensor = constant_tensor(old)
    assert old is not None and tensor is not None and old.name is not None
    owner = old.graph if isinstance(old.graph, ir.Graph) else weight.nodes[0].graph
    within, name = edits.within(owner), str(old.name)
    value = within.initializer(lazily(edit, tensor, f"{name}_2_4"))
    for node in weight.nodes:
        node.replace_input_with(1, value)
    drop_if_unread(within.graph, old)
    if not old.uses() and not old.is_graph_output():
        within.graph.initializers.pop(str(value.name))
        value.name = name
        within.graph.register_initializer(value)
    return value
