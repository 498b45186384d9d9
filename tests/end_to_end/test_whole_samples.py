"""A model whose first axis counts no samples, from data to a served bundle."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from deployment.triton.repository.write import write_triton_repository
from optimizer import optimize
from optimizer.verbs.compare.sides import compare_sides
from optimizer.verbs.verify import verify_bundle

CLOUD = """<ir_version: 8, opset_import: ["" : 17]>
g (float[P,3] points) => (float[1,16] y) <float[3,32] w1, float[32,16] w2> {
    a = MatMul(points, w1) b = Relu(a) m = ReduceMax<axes = [0], keepdims = 1>(b) y = MatMul(m, w2) }"""


@pytest.mark.slow
def test_point_clouds(tmp_path):
    rng = np.random.default_rng(0)
    model = onnx.parser.parse_model(CLOUD)
    weights = {"w1": rng.standard_normal((3, 32)), "w2": rng.standard_normal((32, 16))}
    del model.graph.initializer[:]
    model.graph.initializer.extend(onnx.numpy_helper.from_array(w.astype(np.float32), n) for n, w in weights.items())
    onnx.save(model, tmp_path / "cloud.onnx")
    (tmp_path / "data").mkdir()
    for number in range(16):
        cloud = rng.standard_normal((40 + number, 3)).astype(np.float32)
        np.savez(tmp_path / "data" / f"{number:02}.npz", points=cloud)
    said: list[str] = []
    result = optimize(
        tmp_path / "cloud.onnx",
        data=tmp_path / "data",
        targets=["cpu"],
        loadgen=["offline"],
        duration=0.2,
        out=tmp_path / "bundle",
        listeners=[lambda event: said.append(str(event))],
    )
    assert any("counts no independent samples" in text for text in said)
    accuracy = result.report.accuracy
    assert accuracy is not None and accuracy.samples == 4 and accuracy.outputs["y"].sqnr_db > 25
    assert result.report.targets["cpu"].batch == 1 and result.report.loadgen["cpu"]["offline"].valid
    with result.engine("cpu") as engine:
        assert engine.inputs[0].batch is False
        assert engine.infer({"points": np.ones((9, 3), np.float32)})["y"].shape == (1, 16)
    assert verify_bundle(result.bundle).ok
    write_triton_repository(result.bundle, tmp_path / "repository", name="cloud")
    assert "max_batch_size: 0" in (tmp_path / "repository/cloud/config.pbtxt").read_text()
    found = compare_sides(tmp_path / "cloud.onnx", result.bundle, str(tmp_path / "data"), 8)
    assert found.accuracy is not None and found.accuracy.samples == 8
