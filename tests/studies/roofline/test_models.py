"""The four graphs have the size that is published for them, and are models that run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from graphs.reading.macs import count_macs, int8_mac_share, total_macs
from graphs.reading.shapes import static_shape, with_shapes
from studies.roofline.models.__main__ import MODELS, main
from studies.roofline.models.bert import bert_large
from studies.roofline.published import WORKLOADS

GMACS = {
    "resnet50": 4.09,  # torchvision, ptflops
    "ssd-resnet34": 216.5,  # MLPerf Inference (Reddi et al.): 433 GOPs per input
    "ssd-mobilenet": 1.24,  # the same paper: 2.47 GOPs
}


@pytest.mark.parametrize("load", WORKLOADS[:3], ids=lambda load: load.benchmark)
def test_macs_are_the_published_ones_and_all_int8(load) -> None:
    model = load.build(load.precision)
    assert total_macs(count_macs(model, load.shapes)) / 1e9 == pytest.approx(GMACS[load.benchmark], rel=0.005)
    assert int8_mac_share(model, load.shapes) == 1.0


def test_ssd_resnet34_has_its_15130_anchors() -> None:
    found = with_shapes(MODELS["ssd-resnet34"]("fp16"), {"image": (1, 3, 1200, 1200)})
    assert [static_shape(value) for value in found.graph.outputs] == [(1, 4, 15130), (1, 81, 15130)]


def test_bert_large_costs_what_its_dimensions_say() -> None:
    length, hidden, layers = 32, 1024, 24
    found = total_macs(count_macs(bert_large("fp16", length), {"input_ids": (1, length)}))
    assert found == layers * (12 * hidden**2 * length + 2 * length**2 * hidden) + 2 * hidden * length


def test_a_graph_is_written_with_weights_that_take_no_room_and_runs(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    assert main(["ssd-mobilenet", str(path)]) == 0
    onnx.checker.check_model(str(path), full_check=True)
    data = tmp_path / "model.onnx.data"
    assert data.stat().st_size > 25e6 and data.stat().st_blocks * 512 < 1e6
    session = ort.InferenceSession(path)
    boxes, scores = session.run(None, {"image": np.zeros((2, 3, 300, 300), np.float32)})
    assert boxes.shape == (2, 4, 1917) and scores.shape == (2, 91, 1917)


def test_int8_graphs_are_valid_and_random_weights_are_real(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    assert main(["resnet50", str(path), "--precision", "int8", "--random"]) == 0
    onnx.checker.check_model(str(path), full_check=True)
    weights = {tensor.name: tensor for tensor in onnx.load(path).graph.initializer}
    codes = onnx.numpy_helper.to_array(weights["stage4.2.b.weight"])
    assert codes.dtype == np.int8 and codes.std() > 50
    assert (tmp_path / "model.onnx.data").stat().st_size < 30e6


def test_a_folder_that_is_not_there_is_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["resnet50", str(tmp_path / "no" / "model.onnx")]) == 2
    assert "No such file" in capsys.readouterr().err
