"""Remove what computes nothing: identities, inference-time dropout, repeated subexpressions, cancelling reshapes."""

from __future__ import annotations

import onnx_ir as ir
import onnx_ir.passes.common as common
from onnxscript.rewriter import RewritePass
from onnxscript.rewriter.rules import common as rules

from graphs.reading.constants import constant_array
from graphs.reading.operators import is_standard
from graphs.writing.edits import bypass, drop_unused_initializers
from optimizer.passes.base import PassResult


class RemoveDropout:
    """Dropout is the identity outside training. One whose mask is used, or that is told to train, stays."""

    name = "remove dropout"

    def apply(self, model: ir.Model) -> PassResult:
        dropouts = [node for graph in model.graphs() for node in graph if node.op_type == "Dropout"]
        removable = [node for node in dropouts if _is_identity(node)]
        for node in removable:
            assert node.inputs[0] is not None
            if node.outputs[0].is_graph_output():
                _to_identity(node)
            else:
                bypass(node, node.inputs[0])
        return PassResult(len(removable), (f"{len(removable)} dropouts removed",) if removable else ())


def _is_identity(node: ir.Node) -> bool:
    if any(output.uses() or output.is_graph_output() for output in node.outputs[1:]):
        return False
    if len(node.inputs) < 3 or node.inputs[2] is None:
        return node.inputs[0] is not None
    training = constant_array(node.inputs[2])
    return training is not None and not training.any()


class RemoveIdentity:
    """An Identity stays where it is what gives a graph output its name: on inputs, constants and outer values."""

    name = "remove identities"

    def apply(self, model: ir.Model) -> PassResult:
        removed = 0
        for graph in list(model.graphs()):
            for node in list(graph):
                if node.op_type == "Identity" and is_standard(node) and _is_removable_identity(node):
                    assert node.inputs[0] is not None
                    bypass(node, node.inputs[0])
                    removed += 1
        return PassResult(removed, (f"{removed} identities removed",) if removed else ())


def _is_removable_identity(node: ir.Node) -> bool:
    source = node.inputs[0]
    if source is None or not node.outputs[0].is_graph_output():
        return source is not None
    producer = source.producer()
    return producer is not None and producer.graph is node.graph and not source.is_graph_output()


def _to_identity(node: ir.Node) -> None:
    node.op_type = "Identity"
    node.resize_inputs(1)
    node.resize_outputs(1)
    for name in list(node.attributes):
        node.attributes.pop(name)


class RemoveRedundant:
    """Common subexpressions, cancelling transposes, casts, slices and reshapes, and dead nodes."""

    name = "remove redundant nodes"

    def apply(self, model: ir.Model) -> PassResult:
        before = _size(model)
        _rewrites()(model)
        common.CommonSubexpressionEliminationPass()(model)
        common.RemoveUnusedNodesPass()(model)
        drop_unused_initializers(model)
        removed = before - _size(model)
        return PassResult(removed, (f"{removed} redundant nodes removed",) if removed else ())


def _rewrites() -> RewritePass:
    return RewritePass(
        [
            rules.cast_cast_rule,
            rules.collapse_slice_rule,
            rules.no_op_cast_rule,
            rules.no_op_expand_rule,
            rules.no_op_transpose_rule,
            rules.reshape_reshape_rule,
            rules.transpose_transpose_rule,
            rules.unsqueeze_unsqueeze_rule,
        ]
    )


def _size(model: ir.Model) -> int:
    return sum(len(graph) for graph in model.graphs())
