"""``verify --model`` judges a bundle by what its job judged it by."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx

from optimizer import optimize, verify

PIXELS = """<ir_version: 8, opset_import: ["" : 17]>
g (float[N,16] x) => (uint8[N,32] y) <float low = {0.0}, float high = {255.0}> {
    z = MatMul(x, w)
    c = Clip(z, low, high)
    y = Cast<to = 2>(c)
}"""


def test_numbers_that_floats_are_rounded_to_are_no_labels(tmp_path: Path) -> None:
    """A pixel that is one off is near; a job says so, and whoever re-checks it must not ask for equal ones."""
    rng = np.random.default_rng(0)
    model = onnx.parser.parse_model(PIXELS)
    model.graph.initializer.append(onnx.numpy_helper.from_array(rng.standard_normal((16, 32)).astype(np.float32), "w"))
    onnx.save(model, tmp_path / "pixels.onnx")
    data = {"x": 30 * rng.standard_normal((80, 16)).astype(np.float32)}
    out = tmp_path / "out"
    made = optimize(tmp_path / "pixels.onnx", out=out, data=data, targets=["cpu"], cpu_form="int8", loadgen=())
    assert made.report.status == "ok"
    found = verify(out, model=tmp_path / "pixels.onnx", data=data)
    assert found.ok, [check.detail for check in found.checks if not check.ok]
