"""Lint of graphs for TensorRT 8: what its parser rejects, and what it reads as something else without a word.

Read in the parser's source (onnx/onnx-tensorrt, release/8.5-GA: ``builtin_op_importers.cpp``, ``onnx2trt_utils.cpp``):
an input or attribute that an operator gained after opset 17 is not looked at, so a ReduceMean whose axes are an input
reduces all of them. A graph with no finding means the same there as in ONNX; whether the builder has a kernel for every
node only a build tells.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
import onnx_ir as ir

from graphs.reading.constants import constant_array, constant_tensor
from graphs.reading.operators import is_standard
from graphs.tensorrt.lint import LintFinding, Rule
from graphs.tensorrt.tensorrt8.operator_checks import CHECKS, Found
from graphs.tensorrt.tensorrt8.operators import DTYPES, LARGEST_RANK, OPSET, SUPPORTED

_BOUNDS = {("Slice", 1), ("Slice", 2), ("Clip", 1), ("Clip", 2), ("Min", 0), ("Min", 1), ("Max", 0), ("Max", 1)}
"""Inputs where a number beyond int32, which the parser clamps, still means what it meant: "to the end", "no bound"."""
_INT32 = np.iinfo(np.int32)


def lint_tensorrt8(model: ir.Model) -> list[LintFinding]:
    """Every node, in graph order, that TensorRT 8 rejects or misreads; those of other domains are plugins' business."""
    findings = [LintFinding(rule, "", message) for rule, message in _of_model(model)]
    for graph in model.graphs():
        for node in graph:
            if is_standard(node):
                findings += [LintFinding(rule, str(node.name), message) for rule, message in _findings(node)]
    return findings


def _of_model(model: ir.Model) -> Found:
    version = model.opset_imports.get("", OPSET)
    if version > OPSET:
        yield Rule.OPSET, f"the graph is of opset {version}, the parser reads it as {OPSET}"
    for value in (*model.graph.inputs, *model.graph.outputs):
        if value.dtype is not None and value.dtype not in DTYPES | {ir.DataType.UINT8}:
            yield Rule.DTYPE, f"{value.name!r} is {value.dtype.name.lower()}, which TensorRT 8 does not have"


def _findings(node: ir.Node) -> Found:
    if node.op_type not in SUPPORTED:
        yield Rule.OPERATOR, f"the parser has no operator {node.op_type}"
        return
    yield from _form(node)
    yield from _types(node)
    for check in CHECKS.get(node.op_type, ()):
        yield from check(node)


def _form(node: ir.Node) -> Found:
    """Inputs and attributes that opset 17 knows, and as many outputs."""
    schema = onnx.defs.get_schema(node.op_type, OPSET)
    if len(node.inputs) > schema.max_input:
        yield Rule.MISREAD, f"its input {schema.max_input} came after opset {OPSET}: the parser does not look at it"
    for name in node.attributes:
        if name not in schema.attributes:
            yield Rule.MISREAD, f"its attribute {name} came after opset {OPSET}: the parser does not look at it"


def _types(node: ir.Node) -> Found:
    for value in node.outputs:
        if value.dtype == ir.DataType.UINT8 and not (node.op_type == "Cast" and value.is_graph_output()):
            yield Rule.DTYPE, f"{value.name!r} is uint8, which TensorRT 8 has at a network's inputs and outputs alone"
        elif value.dtype is not None and value.dtype not in DTYPES | {ir.DataType.UINT8}:
            yield Rule.DTYPE, f"{value.name!r} is {value.dtype.name.lower()}, which TensorRT 8 does not have"
        if value.shape is not None and len(value.shape) > LARGEST_RANK:
            yield Rule.SHAPE, f"{value.name!r} has {len(value.shape)} axes, TensorRT takes {LARGEST_RANK}"
    for index, operand in enumerate(node.inputs):
        yield from _constant(node, index, operand)
        if operand is not None and operand.dtype == ir.DataType.UINT8 and node.op_type != "Cast":
            yield Rule.DTYPE, f"{operand.name!r} is uint8: nothing but a Cast reads that in TensorRT 8"


def _constant(node: ir.Node, index: int, value: ir.Value | None) -> Iterator[tuple[Rule, str]]:
    tensor = constant_tensor(value)
    if tensor is None or value is None:
        return
    if tensor.dtype not in DTYPES:
        yield Rule.DTYPE, f"its constant {value.name!r} is {tensor.dtype.name.lower()}, which TensorRT 8 does not have"
    elif tensor.dtype == ir.DataType.INT64 and (node.op_type, index) not in _BOUNDS and tensor.size:
        array = constant_array(value)
        assert array is not None
        if array.max() > _INT32.max or array.min() < _INT32.min:
            yield Rule.MISREAD, f"its constant {value.name!r} holds numbers beyond int32, which the parser clamps"
