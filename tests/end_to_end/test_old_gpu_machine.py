"""The main job on a GPU machine with TensorRT 8.5: a stand-in that refuses what the real parser misreads, wants flags
and constraints for its types, shares no optimization profile between contexts and has no int64.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest

import optimizer.stages.engines.cpu as cpu
import optimizer.stages.engines.measuring as measuring
from engines.manifest import EngineManifest
from optimizer import optimize
from tests.gpu_machine import environment, in_this_process

TEXT = """
<ir_version: 8, opset_import: ["" : 20]>
text (int64[batch, 6] ids) => (float[batch, 4] logits, int64[batch] top)
<int64[1] axis = {1}> {
  words = Gather (table, ids)
  normal = LayerNormalization (words, gain, shift)
  wide = MatMul (normal, w1)
  bent = Gelu (wide)
  narrow = MatMul (bent, w2)
  mean = ReduceMean <keepdims = 0> (narrow, axis)
  logits = MatMul (mean, w3)
  top = ArgMax <axis = 1, keepdims = 0> (logits)
}
"""
SHAPES = {"table": (50, 32), "gain": (32,), "shift": (32,), "w1": (32, 64), "w2": (64, 32), "w3": (32, 4)}


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a model and data on such a machine; what is timed is cut short."""
    model = onnx.parser.parse_model(TEXT)
    rng = np.random.default_rng(0)
    for name, shape in SHAPES.items():
        values = rng.standard_normal(shape) / np.sqrt(shape[0]) if len(shape) > 1 else np.ones(shape)
        values *= 3000 if name == "table" else 1  # the norm's squares are beyond float16, so it stays FP32
        model.graph.initializer.append(onnx.numpy_helper.from_array(values.astype(np.float32), name))
    onnx.save(model, tmp_path / "text.onnx")
    np.savez(tmp_path / "data.npz", ids=rng.integers(0, 50, (32, 6)))
    for name, value in environment(tmp_path / ".cache", old=True).items():
        monkeypatch.setenv(name, value)
    for module in (cpu, measuring):
        monkeypatch.setattr(module, "SECONDS", 0.1)
    with in_this_process(old=True):
        yield tmp_path


def test_the_whole_job_runs_on_tensorrt_8(machine: Path) -> None:
    out = machine / "out"
    options: dict[str, Any] = {"targets": ["native"], "data": str(machine / "data.npz"), "loadgen": ()}
    report = optimize(machine / "text.onnx", out=out, **options).report
    gpu = report.targets["a100"]
    assert gpu.status == "measured" and gpu.accuracy_simulated is False, gpu.reason
    manifest = EngineManifest.load(out / "engines" / "a100")
    assert manifest.backend_version == "8.5.3.1"
    assert [(spec.dtype, spec.declared) for spec in manifest.inputs] == [("int32", "int64")]
    assert any("layers are held in FP32" in note for note in manifest.notes), manifest.notes
    assert any("TensorRT's own kernels only" in note for note in manifest.ignored)
    assert any("int8" in layer.inputs for layer in manifest.layers) and all(
        layer.onnx_nodes for layer in manifest.layers
    )
