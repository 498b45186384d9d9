"""Operator times come from ONNX Runtime's own profile of the very model."""

from pathlib import Path

import numpy as np
import onnx

from benchmarks.timing.op_times import by_operator, profile_kernels

MODEL = """
<ir_version: 9, opset_import: ["" : 17]>
two (float[n, 64] x) => (float[n, 64] y) {
  a = MatMul (x, x_t)
  b = Sin (a)
  c = Sin (b)
  y = MatMul (c, x)
}
"""


def test_every_kernel_is_counted_once_per_inference(tmp_path: Path) -> None:
    model = onnx.parser.parse_model(MODEL.replace("x_t)", "w)").replace("(c, x)", "(c, w)"))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.eye(64, dtype=np.float32), "w"))
    onnx.save(model, tmp_path / "two.onnx")
    kernels = profile_kernels(tmp_path / "two.onnx", {"x": np.ones((4, 64), np.float32)}, runs=5)
    found = {op.op_type: op for op in by_operator(kernels)}
    assert found["Sin"].calls == 2 and found["MatMul"].calls == 2
    assert all(op.milliseconds > 0 for op in found.values())
