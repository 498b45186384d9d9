"""``verify --model`` judges a bundle by what its job judged it by."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx

from optimizer import optimize, verify
from optimizer.verbs.compare.sides import compare_sides

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


TWINS = """<ir_version: 8, opset_import: ["" : 17]>
g (float[N,16] x) => (float[N,32] y) {
    [twin] z = MatMul(x, w)
    [twin] y = Relu(z)
}"""


def test_a_file_that_onnx_runtime_does_not_open_is_judged_as_imported(tmp_path: Path) -> None:
    """It refuses nodes of one name, and bfloat16: a job judges by the imported graph, and so do verify and compare."""
    rng = np.random.default_rng(0)
    model, path, out = onnx.parser.parse_model(TWINS), tmp_path / "twins.onnx", tmp_path / "out"
    model.graph.initializer.append(onnx.numpy_helper.from_array(rng.standard_normal((16, 32)).astype(np.float32), "w"))
    onnx.save(model, path)
    data = {"x": rng.standard_normal((40, 16)).astype(np.float32)}
    optimize(path, out=out, data=data, precision="fp16", targets=["cpu"], loadgen=())
    found = verify(out, model=path, data=data)
    assert found.ok, [check.detail for check in found.checks if not check.ok]
    compared = compare_sides(path, out, "random", 4)
    assert compared.accuracy is not None and compared.accuracy.sqnr_db > 40
    assert compared.first is not None and compared.first.ran.startswith("the imported graph ran, for the file does not")
    assert compared.second is not None and not compared.second.ran
