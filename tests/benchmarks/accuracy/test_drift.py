"""Drift per tensor: the error enters where it was put."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import numpy_helper

from benchmarks.drift import drift

TEXT = """
<ir_version: 8, opset_import: ["" : 17]>
net (float[batch, 8] x) => (float[batch, 8] y)
{
    a = MatMul(x, w1)
    b = Relu(a)
    y = MatMul(b, w2)
}
"""


def save(path: Path, w1: np.ndarray, w2: np.ndarray, *, external: bool = False) -> Path:
    model = onnx.parser.parse_model(TEXT)
    model.graph.initializer.extend([numpy_helper.from_array(w1, "w1"), numpy_helper.from_array(w2, "w2")])
    onnx.save(model, path, save_as_external_data=external, location=f"{path.stem}.data", size_threshold=0)
    return path


@pytest.mark.parametrize("external", [True, False])
def test_error_starts_at_the_changed_weight(external: bool, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    w1, w2 = rng.standard_normal((2, 8, 8)).astype(np.float32)
    reference = save(tmp_path / "a.onnx", w1, w2, external=external)
    candidate = save(tmp_path / "b.onnx", w1, w2 * np.float32(1.01), external=external)
    before = sorted(tmp_path.iterdir())
    feeds = [{"x": rng.standard_normal((3, 8)).astype(np.float32)} for _ in range(2)]
    found = drift(reference, candidate, ["b", "a", "nothing", "y"], feeds, threads=1)
    assert list(found) == ["b", "a", "y"]
    assert found["a"] == found["b"] == 200.0
    assert 39.9 < found["y"] < 40.1, "an error of 1 % is 40 dB"
    assert sorted(tmp_path.iterdir()) == before, "nothing left behind"
