"""What is left of newer opsets once operators are rewritten: attributes that say what opset 17 says without them."""

from __future__ import annotations

import onnx
import onnx_ir as ir

from graphs.reading.operators import is_standard
from graphs.tensorrt.tensorrt8.operators import OPSET
from optimizer.importing.newer import is_default


def drop_defaults(model: ir.Model) -> None:
    """Take away, in place, newer attributes that hold their default, and inputs that are left out at the end."""
    version = model.opset_imports.get("", OPSET)
    for graph in model.graphs():
        for node in graph:
            if is_standard(node):
                _drop_from(node, version)


def _drop_from(node: ir.Node, version: int) -> None:
    while node.inputs and node.inputs[-1] is None:
        node.resize_inputs(len(node.inputs) - 1)
    try:
        old, new = onnx.defs.get_schema(node.op_type, OPSET), onnx.defs.get_schema(node.op_type, version)
    except onnx.defs.SchemaError:
        return
    for name in set(node.attributes) - set(old.attributes):
        if is_default(node, name, new):
            node.attributes.pop(name)
