"""An INT8 run that quantized nothing says so, and why."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.end_to_end.conftest import Command

NO_PRODUCT = """
<ir_version: 9, opset_import: ["" : 17]>
m (float[batch, 16] x) => (float[batch, 16] y) { y = Softmax (x) }
"""
TOO_SMALL = """
<ir_version: 9, opset_import: ["" : 17]>
m (float[batch, 16] x) => (float[batch, 4] y) <float[16, 4] w> { y = MatMul (x, w) }
"""


@pytest.mark.parametrize(("text", "reason"), [(NO_PRODUCT, "no matrix product"), (TOO_SMALL, "rule 11")])
def test_the_terminal_says_so(folder: Path, optimize: Command, text: str, reason: str) -> None:
    model = onnx.parser.parse_model(text)
    rng = np.random.default_rng(0)
    for value in model.graph.value_info:
        weights = rng.standard_normal([d.dim_value for d in value.type.tensor_type.shape.dim]).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(weights, value.name))
    onnx.save(model, folder / "plain.onnx")
    np.savez(folder / "plain.npz", x=rng.standard_normal((24, 16)).astype(np.float32))
    done = optimize("plain.onnx", "--data", "plain.npz", "--loadgen", "none")
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())
    assert "nothing could be quantized to INT8" in said and reason in said
