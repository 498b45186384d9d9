"""Measured kernel times laid to the nodes of the graph that ran: ONNX Runtime renames what it fuses.

A fused kernel is called after one of its nodes with a number behind (``conv_token_5``), or after its result
(``relu_output_0_nchwc``, a convolution with the ReLU behind it). Its time goes to the node that does its work: the
nearest one, looking back, of the kernel's own operator. Kernels that no node asked for (a layout change) keep their
name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import onnx_ir as ir

from benchmarks.timing.op_times import KernelTime

_ADDED = re.compile(r"(_token_\d+|_nchwc|_nhwc)+$")
"""What ONNX Runtime's transformers put behind a name."""
_PREFIXES = ("QLinear", "Nhwc", "Fused", "DynamicQuantize", "MatMulInteger")
_FUSED_BEHIND = 3
"""Nodes behind a product that a kernel may hold (an Add, an activation): chosen."""


def times_of_nodes(graph: ir.Model, kernels: Sequence[KernelTime]) -> dict[str, float]:
    """Milliseconds per inference by node name, in the order of ``kernels``."""
    nodes = {str(node.name): node for node in graph.graph}
    makers = {str(value.name): node for node in graph.graph for value in node.outputs}
    found: dict[str, float] = {}
    for kernel in kernels:
        stem = _ADDED.sub("", kernel.name)
        node = nodes.get(kernel.name) or nodes.get(stem) or makers.get(stem)
        name = kernel.name if node is None else str(_at_work(node, kernel.op_type).name)
        found[name] = found.get(name, 0.0) + kernel.milliseconds
    return found


def _at_work(node: ir.Node, op_type: str) -> ir.Node:
    """The node of ``op_type`` that ``node`` is fused behind; itself where there is none near."""
    for prefix in _PREFIXES:
        op_type = op_type.removeprefix(prefix)
    at: ir.Node | None = node
    for _ in range(_FUSED_BEHIND):
        if at is None or at.op_type == op_type:
            break
        at = at.inputs[0].producer() if at.inputs and at.inputs[0] is not None else None
    return at if at is not None and at.op_type == op_type else node
