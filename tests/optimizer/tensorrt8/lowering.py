"""Lowering small graphs written as text, and running them before and after."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from engines.onnxruntime.graph import running
from graphs.reading.shapes import infer_shapes
from graphs.tensorrt.lint import Rule
from graphs.tensorrt.tensorrt8.lint import lint_tensorrt8
from graphs.writing.node_names import name_nodes
from optimizer.tensorrt8.lowering import Lowered, lowered_as_far_as_possible


def model_of(text: str, opset: int = 21) -> ir.Model:
    """Constants called ``half_...`` are float16, which the text form cannot say."""
    model = ir.from_onnx_text(f'<ir_version: 10, opset_import: ["" : {opset}]>\n{text}')
    for name, value in model.graph.initializers.items():
        if name.startswith("half_") and value.const_value is not None:
            value.const_value = ir.tensor(value.const_value.numpy().astype(np.float16), name=name)
            value.type = ir.TensorType(ir.DataType.FLOAT16)
    name_nodes(model)
    infer_shapes(model)
    return model


def lowered(text: str, opset: int = 21) -> Lowered:
    """What becomes of the graph, which must be a valid one of opset 17."""
    found = lowered_as_far_as_possible(model_of(text, opset))
    onnx.checker.check_model(ir.to_proto(found.model), full_check=True)
    assert found.model.opset_imports[""] == 17
    return found


def refusals(text: str, opset: int = 21) -> list[tuple[Rule, str]]:
    """What TensorRT 8 would not take of the lowered graph: rule and node."""
    found = lowered_as_far_as_possible(model_of(text, opset))
    return [(finding.rule, finding.where) for finding in lint_tensorrt8(found.model)]


def operators(model: ir.Model) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.all_nodes())


def node_of(model: ir.Model, op_type: str) -> ir.Node:
    return next(node for node in model.graph.all_nodes() if node.op_type == op_type)


def answers(model: ir.Model, feed: Mapping[str, Any]) -> dict[str, Any]:
    with running(model, fuse_qdq=False) as engine:
        return engine.infer(dict(feed))


def same(text: str, feed: Mapping[str, Any], opset: int = 21, gone: Iterable[str] = ()) -> Lowered:
    """The graph, which nothing of is refused, computes what it did; none of the operators ``gone`` is left."""
    model = model_of(text, opset)
    found = lowered(text, opset)
    assert lint_tensorrt8(found.model) == []
    assert not set(gone) & set(operators(found.model))
    before, after = answers(model, feed), answers(found.model, feed)
    for name, wanted in before.items():
        assert after[name].dtype == wanted.dtype and after[name].shape == wanted.shape
        np.testing.assert_allclose(after[name], wanted, rtol=1e-5, atol=1e-6)
    return found


def normal(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)
