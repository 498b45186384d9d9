"""Operators that compute in several steps, written as those steps, each of which rounds and can overflow by itself.

What lies inside one operator depends on the library: some kernels keep it in FP32, others (and onnx's reference) in the
type of the tensors. These expansions follow ``onnx.reference.ops``, the more pessimistic reading: a square inside a
layer norm or a sum over space that leaves FP16's range is seen, and the node can be kept in FP32.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import onnx_ir as ir

from graphs.reading.operators import is_standard
from graphs.writing.free_names import FreeNames
from optimizer.simulation.expansions import EXPANSIONS
from optimizer.simulation.steps import Steps


def expand_composites(model: ir.Model, dtypes: Collection[ir.DataType]) -> dict[str, str]:
    """Replace every composite operator on data of ``dtypes`` by its steps, in place, bodies included.

    Results keep their names. Returns the names of the tensors between the steps, each with its node's name, which is
    empty for what is FP32 in any case.
    """
    inside: dict[str, str] = {}
    names = FreeNames(model.graph)
    for graph in list(model.graphs()):
        for node in list(graph):
            expansion = EXPANSIONS.get(node.op_type) if is_standard(node) else None
            if expansion is None or not node.inputs or node.inputs[0] is None or node.inputs[0].dtype not in dtypes:
                continue
            steps = Steps(node, names)
            results = expansion(steps)
            if results:
                _replace(node, results)
                inside |= {str(value.name): str(node.name) for value in steps.made if value not in results}
                inside |= {str(value.name): "" for value in steps.aside if value not in results}
    return inside


def _replace(node: ir.Node, results: Sequence[ir.Value]) -> None:
    for old, new in zip(node.outputs, results, strict=False):
        new.shape = old.shape
        name, old.name = old.name, f"{old.name}/replaced"
        new.name = name
        old.replace_all_uses_with(new, replace_graph_outputs=True)
    assert node.graph is not None
    node.graph.remove(node, safe=True)
