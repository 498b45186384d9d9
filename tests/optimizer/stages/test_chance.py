"""A model that draws random numbers cannot be judged beside itself, and the job says so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx

from optimizer import optimize

TEXT = """<ir_version: 10, opset_import: ["" : 21]> g (float[N, 4] x) => (float[N, 4] mean, float[N, 4] drawn) {
    mean = Tanh(x)
    noise = RandomNormalLike(mean)
    drawn = Add(mean, noise)
}"""


def test_it_is_told_which_outputs_are_drawn(tmp_path: Path) -> None:
    onnx.save(onnx.parser.parse_model(TEXT), tmp_path / "m.onnx")
    np.savez(tmp_path / "x.npz", x=np.random.default_rng(0).standard_normal((8, 4)).astype(np.float32))
    result = optimize(
        tmp_path / "m.onnx",
        precision="fp32",
        data=str(tmp_path / "x.npz"),
        targets=["cpu"],
        loadgen="none",
        out=tmp_path / "b",
    )
    (warning,) = [text for text in result.report.warnings if "random" in text]
    assert "'drawn'" in warning and "'mean'" not in warning
