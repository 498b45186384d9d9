"""The real command on models that came quantized, in the dialects that ONNX Runtime and toolkits for TensorRT write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static

from benchmarks.report.model import Report
from engines.tensorrt.library import installed
from graphs.errors import BadInput
from graphs.tensorrt.lint import lint
from optimizer import optimize as optimize_model
from optimizer.importing.survey import Dialect
from optimizer.verbs.inspect.model import inspect_model
from tests.end_to_end.conftest import Command


class _Samples(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, folder: Path) -> None:
        self._feeds = iter([{"input": np.load(folder / "data.npz")["input"]}])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._feeds, None)


def _quantized(folder: Path, dialect: str) -> Path:
    """``cnn.onnx`` in INT8, by ONNX Runtime's own quantizer."""
    path = folder / f"{dialect}.onnx"
    if dialect == "dynamic":
        quantize_dynamic(folder / "cnn.onnx", path)
        return path
    symmetric = dialect == "tensorrt"
    quantize_static(
        folder / "cnn.onnx",
        path,
        _Samples(folder),
        quant_format=QuantFormat.QOperator if dialect == "qoperator" else QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QInt8 if symmetric else QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=["Conv", "Gemm"] if symmetric else None,
        extra_options={"ActivationSymmetric": symmetric, "WeightSymmetric": True, "QuantizeBias": not symmetric},
    )
    return path


def _targets() -> list[str]:
    return ["cpu", "a100"] if installed("tensorrt_rtx") else ["cpu"]


def _run(folder: Path, dialect: str, **options: Any) -> Report:
    """The job in this process."""
    given = {"targets": ["cpu"], "data": str(folder / "data.npz"), "loadgen": [], "out": folder / "out", **options}
    return optimize_model(_quantized(folder, dialect), **given).report


@pytest.mark.parametrize("dialect", ["tensorrt", "uint8", "qoperator"])
def test_its_own_quantization_is_kept_and_fits_every_target(folder: Path, dialect: str) -> None:
    report = _run(folder, dialect, targets=_targets())
    assert report.model.quantization.endswith(": kept")
    assert report.calibrated is False and report.calibration["method"] == "source"
    assert report.precision.int8_mac_share is not None and report.precision.int8_mac_share > 0.9
    assert report.accuracy is not None and report.accuracy.outputs["logits"].sqnr_db > 25
    plan = json.loads((folder / "out" / "precision.json").read_bytes())["nodes"]
    assert {node["reason"] for node in plan.values() if node["dtype"] == "int8"} == {"as in the source"}
    if "a100" in report.targets:
        assert lint(ir.load(folder / "out" / "model.onnx")) == []
        assert report.targets["a100"].status == "built"


def test_leaving_it_out_is_a_choice_that_is_said(folder: Path) -> None:
    report = _run(folder, "uint8", precision="fp32")
    assert "left out (asked for with --precision fp32)" in report.model.quantization
    written = ir.load(folder / "out" / "model.onnx")
    assert not any(node.op_type == "QuantizeLinear" for node in written.graph)


def test_calibrating_it_again_is_a_choice_that_is_said(folder: Path) -> None:
    report = _run(folder, "uint8", calibration="minmax", cpu_form="int8")
    assert "left out (asked for with --calibration minmax)" in report.model.quantization
    assert report.calibrated and report.calibration["method"] == "minmax"
    assert report.precision.int8_mac_share is not None and report.precision.int8_mac_share > 0.9


def test_dynamic_quantization_becomes_static_on_the_data(folder: Path) -> None:
    report = _run(folder, "dynamic", cpu_form="int8")
    assert "dynamic quantization" in report.model.quantization and report.calibrated
    assert report.precision.int8_mac_share is not None and report.precision.int8_mac_share > 0.9


def test_inspect_says_what_it_is_and_what_is_repaired(folder: Path) -> None:
    found = inspect_model(_quantized(folder, "uint8"))
    assert found.quantization is not None and found.quantization.dialect is Dialect.ONNXRUNTIME
    assert any("have ranges around zero" in line for line in found.repairs)


@pytest.mark.slow
def test_the_command_says_how_the_model_came(folder: Path, optimize: Command) -> None:
    _quantized(folder, "tensorrt")
    done = optimize("tensorrt.onnx", "--target", "cpu", "--data", "data.npz", "--loadgen", "none")
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())
    assert "comes quantized: Q/DQ for TensorRT" in said and ": kept" in said and "NOT CALIBRATED" not in said


def test_a_scale_that_is_no_number_is_refused_by_name(folder: Path) -> None:
    path = _quantized(folder, "uint8")
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        if tensor.name == "input_scale":
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.array(np.nan, np.float32), tensor.name))
    onnx.save(model, path)
    with pytest.raises(BadInput, match=r"'input_QuantizeLinear' has a scale that is not finite") as error:
        optimize_model(path, data=str(folder / "data.npz"), out=folder / "out")
    assert error.value.exit_code == 2 and not (folder / "out").exists()
