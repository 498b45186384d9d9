"""Casts that change nothing, taken away: to the type a value has, and back from one that holds all of it."""

from __future__ import annotations

import onnx_ir as ir

from graphs.reading.operators import is_standard
from graphs.writing.edits import bypass
from optimizer.passes.base import PassResult

_WIDER = {
    ir.DataType.FLOAT16: (ir.DataType.FLOAT, ir.DataType.DOUBLE),
    ir.DataType.BFLOAT16: (ir.DataType.FLOAT, ir.DataType.DOUBLE),
    ir.DataType.FLOAT: (ir.DataType.DOUBLE,),
}
"""Types that hold every value of another."""


class MinimalCasts:
    """Exact: a Cast that rounds, as the source or the typing wants it, stays."""

    name = "take casts away"

    def apply(self, model: ir.Model) -> PassResult:
        gone = 0
        for graph in list(model.graphs()):
            for node in list(graph):
                gone += node.op_type == "Cast" and is_standard(node) and _removed(node)
        return PassResult(gone, (f"{gone} casts that change nothing taken away",) if gone else ())


def _removed(cast: ir.Node) -> bool:
    source, output = cast.inputs[0], cast.outputs[0]
    if source is None or source.dtype is None or output.dtype is None:
        return False
    if source.dtype is output.dtype:
        return _bypassed(cast, source)
    before = source.producer()
    if before is None or before.op_type != "Cast" or not is_standard(before) or before.graph is not cast.graph:
        return False
    first = before.inputs[0]
    if first is None or first.dtype is not output.dtype or source.dtype not in _WIDER.get(first.dtype, ()):
        return False
    if not _bypassed(cast, first):
        return False
    if not source.uses() and not source.is_graph_output():
        assert before.graph is not None
        before.graph.remove(before, safe=True)
    return True


def _bypassed(cast: ir.Node, value: ir.Value) -> bool:
    """Whether ``value`` could take the place of the cast: an output needs a name of its own."""
    if cast.outputs[0].is_graph_output() and (
        value.producer() is None or value.is_graph_output() or value.graph is not cast.graph
    ):
        return False
    bypass(cast, value)
    return True
