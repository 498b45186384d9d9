"""Tiny ONNX graphs, written as text, that stand for the models a user brings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper, parser

from engines.engine import Array


def save_graph(text: str, path: Path, weights: dict[str, Array] | None = None) -> Path:
    """Parse the textual form, add weights, check it and write it."""
    model = parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]>\n{text}')
    for name, value in (weights or {}).items():
        model.graph.initializer.append(numpy_helper.from_array(value, name))
    onnx.checker.check_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString())
    return path


def colour_classifier(path: Path, classes: int = 1000) -> Path:
    """image [batch, 3, 224, 224] -> logits: the brightest channel c gives class 100 c (after a background class)."""
    weights = np.zeros((3, classes), np.float32)
    for channel in range(3):
        weights[channel, 100 * channel + classes - 1000] = 1.0
    return save_graph(
        f"""
        colours (float[batch,3,224,224] image) => (float[batch,{classes}] logits) {{
            pooled = ReduceMean <axes = [2, 3], keepdims = 0> (image)
            logits = MatMul(pooled, w)
        }}""",
        path,
        {"w": weights},
    )
