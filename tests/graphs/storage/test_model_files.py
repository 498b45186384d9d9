"""The files of a model: one digest for every part of the project, over the file and the data beside it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from graphs.storage.model_files import model_bytes, model_digest
from optimizer.importing import import_model


def saved(path: Path, *, external: bool) -> Path:
    """y = x + w, with w beside the model where ``external``."""
    weight = numpy_helper.from_array(np.arange(4, dtype=np.float32), "w")
    value = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [4])
    result = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [4])
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", [value], [result], [weight])
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    onnx.save_model(model, path, save_as_external_data=external, location="weights.bin", size_threshold=0)
    return path


def test_the_digest_of_one_file_is_what_sha256sum_prints(tmp_path: Path) -> None:
    model = saved(tmp_path / "model.onnx", external=False)
    assert model_digest(model) == hashlib.sha256(model.read_bytes()).hexdigest() == import_model(model).digest


def test_the_digest_covers_external_data(tmp_path: Path) -> None:
    model = saved(tmp_path / "model.onnx", external=True)
    before = model_digest(model)
    assert before == import_model(model).digest
    assert model_bytes(model) == model.stat().st_size + 16
    data = tmp_path / "weights.bin"
    data.write_bytes(data.read_bytes()[:-1] + b"\x01")
    assert model_digest(model) != before
