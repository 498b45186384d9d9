"""Small textual models shared by the quantization tests."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from calibration.table import CalibrationTable, TensorRange
from optimizer.passes.infer_shapes import InferShapes


def parse(text: str, weights: dict[str, np.ndarray] | None = None) -> ir.Model:
    """A model from ONNX text; ``weights`` become initializers in place of graph inputs of the same name.

    Node outputs are called after their nodes: node names are set to the first output's name.
    """
    model = ir.from_onnx_text(text)
    graph = model.graph
    for name, values in (weights or {}).items():
        value = next(v for v in graph.inputs if v.name == name)
        graph.inputs.remove(value)
        value.const_value = ir.Tensor(values, name=name)
        graph.register_initializer(value)
    for node in graph.all_nodes():
        node.name = f"{node.outputs[0].name}"
    InferShapes().apply(model)
    return model


def table(**amaxes: float) -> CalibrationTable:
    """A table with symmetric ranges ±amax for the named tensors."""
    ranges = {name: TensorRange(-a, a, -a, a, a, "test") for name, a in amaxes.items()}
    return CalibrationTable(ranges, "test", 1, True, "", "")


def normal(*shape: int, seed: int = 0, scale: float = 0.1) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(shape) * scale).astype(np.float32)


def conv_weight(out: int, inp: int, kernel: int = 3, seed: int = 0) -> np.ndarray:
    return normal(out, inp, kernel, kernel, seed=seed)
