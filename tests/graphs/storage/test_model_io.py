"""Reading declared types past the weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from graphs.storage.model_io import declared_types


@pytest.fixture
def model(tmp_path: Path) -> Path:
    weights = [numpy_helper.from_array(np.zeros((512, 512), np.float32), "w")]
    ends = [
        helper.make_tensor_value_info("x", TensorProto.DOUBLE, [1, "n"]),
        helper.make_tensor_value_info("ids", TensorProto.INT64, [1]),
        helper.make_tensor_value_info("half", TensorProto.BFLOAT16, [1]),
    ]
    nodes = [helper.make_node("Identity", [name], [f"{name}_out"]) for name in ("x", "ids", "half")]
    outs = [helper.make_tensor_value_info("x_out", TensorProto.DOUBLE, None)]
    proto = helper.make_model(helper.make_graph(nodes, "g", ends, outs, weights))
    proto.doc_string = "text before and after"
    path = tmp_path / "model.onnx"
    onnx.save_model(proto, path)
    return path


def test_types_of_inputs_and_outputs(model: Path) -> None:
    assert declared_types(model) == {"x": "float64", "ids": "int64", "half": "bfloat16", "x_out": "float64"}


@pytest.mark.parametrize("content", [b"", b"garbage", b"\xff" * 40])
def test_what_is_no_model_declares_nothing(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    assert declared_types(path) == {}


def test_a_file_cut_off_declares_nothing(model: Path) -> None:
    model.write_bytes(model.read_bytes()[:1000])
    assert declared_types(model) == {}
