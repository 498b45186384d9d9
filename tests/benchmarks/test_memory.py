"""Memory is measured on a real sample: made-up values may be none the graph can run."""

from __future__ import annotations

import numpy as np
import onnx

from benchmarks.memory import engine_memory
from benchmarks.samples.files import read_npz, write_npz
from engines.engine import TensorSpec
from engines.onnxruntime.engine import OnnxRuntimeEngine

EXPANDED = """<ir_version: 8, opset_import: ["" : 17]>
g (float[2,4] x, int64[3] shape) => (float[a,b,c] y) { y = Expand(x, shape) }"""


def test_a_shape_that_zeros_would_break(tmp_path):
    path = tmp_path / "model.onnx"
    onnx.save(onnx.parser.parse_model(EXPANDED), path)
    feed = {"x": np.ones((2, 4), np.float32), "shape": np.array([3, 2, 4])}
    assert engine_memory(str(path), feed).host_bytes >= 0


def test_samples_keep_their_type_through_a_file(tmp_path):
    with OnnxRuntimeEngine(onnx.parser.parse_model(EXPANDED).SerializeToString()) as engine:
        feed = {"x": np.ones((2, 4), np.float32), "shape": np.array([3, 2, 4])}
        write_npz(tmp_path / "sample.npz", feed)
        assert engine.infer(read_npz(tmp_path / "sample.npz", engine.inputs))["y"].shape == (3, 2, 4)
    spec = TensorSpec("x", "bfloat16", (2,))
    half = np.array([1.5, -2], spec.numpy_dtype())
    write_npz(tmp_path / "half.npz", {"x": half})
    assert np.array_equal(read_npz(tmp_path / "half.npz", [spec])["x"], half)
