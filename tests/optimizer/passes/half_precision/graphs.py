"""Graphs put into half precision, checked and run: what its tests share."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort

from graphs.tensorrt.lint import Rule, lint
from graphs.writing.node_names import name_nodes
from optimizer.passes.infer_shapes import InferShapes

FLOAT, HALF, BRAIN = ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16


def parse(text: str) -> ir.Model:
    model = ir.from_onnx_text('<ir_version: 10, opset_import: ["" : 21]>\n' + text)
    name_nodes(model)
    InferShapes().apply(model)
    return model


def check(model: ir.Model) -> onnx.ModelProto:
    """The typed model as a proto; fails on any operator whose operand types the standard does not allow."""
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    assert not [finding for finding in lint(model) if finding.rule == Rule.TYPE_MISMATCH]
    return proto


def run(model: ir.Model, **feed: np.ndarray) -> list[np.ndarray]:
    session = ort.InferenceSession(check(model).SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(None, feed))


def type_of(model: ir.Model, op_type: str) -> ir.DataType | None:
    """The type of the first float a node of ``op_type`` reads or writes."""
    node = next(node for graph in model.graphs() for node in graph if node.op_type == op_type)
    return next(v.dtype for v in (*node.inputs, *node.outputs) if v is not None and v.dtype in (FLOAT, HALF, BRAIN))


def casts(model: ir.Model) -> int:
    return sum(node.op_type == "Cast" for graph in model.graphs() for node in graph)
