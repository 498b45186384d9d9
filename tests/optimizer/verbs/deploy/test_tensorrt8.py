"""optimize deploy BUNDLE tensorrt8: a graph of opset 17, what its nodes compute in, and a script."""

from __future__ import annotations

import json
import os
from pathlib import Path

import onnx
import onnx_ir as ir
import pytest

from engines.errors import BuildError
from graphs.errors import BadInput
from optimizer.bundle import Bundle
from optimizer.verbs.deploy.bundle import deploy_bundle
from tests.optimizer.tensorrt8.lowering import model_of

TYPED = """g (float[2, 3] x) => (float[2, 1] y) <int64[1] axes = {1}> {
    h = Cast<to = 10>(x) [gelu] a = Gelu(h) w = Cast<to = 1>(a) [mean] y = ReduceMean(w, axes) }"""


def bundle_of(model: ir.Model, folder: Path) -> Path:
    folder.mkdir()
    ir.save(model, folder / "model.onnx")
    manifest = dict.fromkeys(("key", "model_digest", "data_digest", "settings_digest"), "") | {"tools": {}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert Bundle(folder).targets() == []
    return folder


def test_the_folder_holds_what_tensorrt_8_reads(tmp_path: Path) -> None:
    files = deploy_bundle(bundle_of(model_of(TYPED), tmp_path / "net"), "tensorrt8", tmp_path / "out").files
    assert [path.name for path in files] == ["build.sh", "model.onnx", "precision.json"]
    model = onnx.load(tmp_path / "out" / "model.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert model.opset_import[0].version == 17
    types = json.loads((tmp_path / "out" / "precision.json").read_text())
    assert types["gelu"] == "fp16" and types["mean"] == "fp32"
    assert "--layerPrecisions=mean:fp32" in (tmp_path / "out" / "build.sh").read_text()
    assert os.access(tmp_path / "out" / "build.sh", os.X_OK)


def test_nothing_is_written_where_it_is_refused(tmp_path: Path) -> None:
    bundle = bundle_of(model_of("g (float[2, 2] x) => (float y) { [d] y = Det(x) }"), tmp_path / "net")
    with pytest.raises(BuildError, match="no operator Det"):
        deploy_bundle(bundle, "tensorrt8", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_graph_for_the_cpu_alone_is_refused(tmp_path: Path) -> None:
    text = """g (float[2] x) => (float[2] y) <float s = {1}, uint8 z = {7}> {
        q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z) }"""
    with pytest.raises(BadInput, match="for ONNX Runtime on a CPU"):
        deploy_bundle(bundle_of(model_of(text), tmp_path / "net"), "tensorrt8", tmp_path / "out")
