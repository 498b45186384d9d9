"""Models from text for tests of passes, run as they stand."""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort

from graphs.writing.node_names import name_nodes
from optimizer.passes.infer_shapes import InferShapes
from tests.drawing import seeded

RNG = seeded(0)


def parse(text: str, **weights: np.ndarray) -> ir.Model:
    """A model from text; ``weights`` become its initializers."""
    model = ir.from_onnx_text('<ir_version: 10, opset_import: ["" : 21]>\n' + text)
    for name, array in weights.items():
        value = next(v for g in model.graphs() for node in g for v in node.inputs if v is not None and v.name == name)
        value.const_value = ir.tensor(array, name=name)
        value.shape, value.dtype = ir.Shape(array.shape), value.const_value.dtype
        model.graph.inputs.remove(value)
        model.graph.register_initializer(value)
    name_nodes(model)
    return model


def drawn(text: str, draw: Callable[[str, tuple[int, ...]], np.ndarray], but: Collection[str] = ("x",)) -> ir.Model:
    """A model from text whose inputs, all ``but`` these, become initializers that ``draw`` gives, of name and shape."""
    model = ir.from_onnx_text('<ir_version: 10, opset_import: ["" : 21]>\n' + text)
    for value in [value for value in model.graph.inputs if value.name not in but]:
        array = draw(str(value.name), tuple(int(size) for size in value.shape or ()))
        value.const_value = ir.tensor(array, name=value.name)
        model.graph.inputs.remove(value)
        model.graph.register_initializer(value)
    name_nodes(model)
    InferShapes().apply(model)
    return model


def run(model: ir.Model, **feed: np.ndarray) -> list[np.ndarray]:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    session = ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return list(session.run(None, feed))


def ops(model: ir.Model) -> list[str]:
    return [node.op_type for node in model.graph]


def weights(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)
