"""Which graph, plan and table of a job lie where in its bundle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from benchmarks.accuracy.compare import Accuracy
from calibration.table import CalibrationTable, TensorRange
from graphs.storage.saving import save_model
from optimizer.bundle import Bundle, BundleManifest, Workspace
from optimizer.precision import Dtype, NodePrecision, PrecisionPlan
from optimizer.stages.engines.record import EngineRecord
from optimizer.stages.engines.shipping import describe_cpu, ship
from optimizer.stages.forms.accuracy_check import AccuracyCheck
from optimizer.stages.forms.typed_forms import TypedForm, TypedForms
from tests.optimizer.quantization.models import parse

TEXT = '<ir_version: 10, opset_import: ["" : 21]> g (float[512] x, float[512] w) => (float[512] y) { y = Add (x, w) }'


def form(folder: Path, value: float, dtype: Dtype, *, external: bool = False) -> TypedForm:
    """A graph that adds ``value``, with a plan in ``dtype`` and, in int8, a table."""
    model = parse(TEXT, {"w": np.full(512, value, np.float32)})
    folder.mkdir(parents=True)
    save_model(model, folder / "model.onnx", single_file_bytes=0 if external else 1 << 20)
    plan = PrecisionPlan({"add": NodePrecision(dtype, "as made", "Add", 8)})
    table = CalibrationTable({"x": TensorRange(-value, value, -value, value, value, "mse")}, "mse", 1, True, "m", "d")
    return TypedForm(
        folder / "model.onnx", plan, 0.0, AccuracyCheck(Accuracy(1, {})), table if dtype is Dtype.INT8 else None
    )


def choice(name: str) -> EngineRecord:
    return EngineRecord(name, "INT8 ran at 0.90x of FP32", 1, {}, {}, [])


def added(path: Path) -> float:
    value = ir.load(path).graph.initializers["w"].const_value
    assert value is not None
    return float(value.numpy()[0])


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle under way, its CPU engine built of a graph that adds 2."""
    form(tmp_path / "bundle" / "engines" / "cpu", 2.0, Dtype.FP32)
    (tmp_path / "bundle" / "engines" / "cpu" / "engine.json").write_text("{}")
    return tmp_path / "bundle"


def published(bundle: Path) -> Bundle:
    """What is left when the folder for resuming, where forms lie, is gone."""
    workspace = Workspace(bundle.with_name("out"), "job")
    with workspace.opened(force=False):
        for path in bundle.iterdir():
            path.rename(workspace.path / path.name)
        return workspace.publish(BundleManifest("job", "", "", "", {}))


def range_of(path: Path) -> float:
    return CalibrationTable.load(path).tensors["x"].amax


@pytest.mark.parametrize("external", [False, True])
def test_the_typed_graph_is_model_onnx_whatever_the_cpu_runs(tmp_path: Path, bundle: Path, external: bool) -> None:
    typed = form(tmp_path / "typed", 1.0, Dtype.INT8, external=external)
    forms = TypedForms(typed, form(tmp_path / "int8", 2.0, Dtype.INT8), form(tmp_path / "fp32", 3.0, Dtype.FP32))
    describe_cpu(forms, choice("int8"), bundle)
    ship(forms, choice("int8"), bundle)
    made = published(bundle)
    assert added(made.path / "model.onnx") == 1.0
    assert made.plan() == typed.plan and range_of(made.path / "calibration.json") == 1.0
    assert range_of(made.path / "engines" / "cpu" / "calibration.json") == 2.0
    assert (made.path / "model.onnx.data").is_file() is external and not made.damaged_files()


@pytest.mark.parametrize("shipped", ["int8", "fp32"])
def test_without_a_gpu_the_cpus_graph_is_model_onnx(tmp_path: Path, bundle: Path, shipped: str) -> None:
    forms = TypedForms(None, form(tmp_path / "int8", 2.0, Dtype.INT8), form(tmp_path / "fp32", 2.0, Dtype.FP32))
    describe_cpu(forms, choice(shipped), bundle)
    ship(forms, choice(shipped), bundle)
    made = published(bundle)
    assert added(made.path / "model.onnx") == 2.0 and made.plan() == made.plan("cpu")
    assert made.plan().nodes["add"].dtype.value == shipped
    assert (made.path / "engines" / "cpu" / "calibration.json").is_file() is (shipped == "int8")
    assert range_of(made.path / "calibration.json") == 2.0  # what calibration has found is kept


def test_fp32_in_place_of_int8_says_why_at_every_node(tmp_path: Path, bundle: Path) -> None:
    forms = TypedForms(None, form(tmp_path / "int8", 2.0, Dtype.INT8), form(tmp_path / "fp32", 2.0, Dtype.FP32))
    describe_cpu(forms, choice("fp32"), bundle)
    ship(forms, choice("fp32"), bundle)
    assert published(bundle).plan().nodes["add"].reason == "INT8 ran at 0.90x of FP32"


def test_fp32_alone_keeps_its_own_reasons(tmp_path: Path, bundle: Path) -> None:
    forms = TypedForms(None, None, form(tmp_path / "fp32", 2.0, Dtype.FP32))
    describe_cpu(forms, choice("fp32"), bundle)
    ship(forms, choice("fp32"), bundle)
    assert published(bundle).plan("cpu").nodes["add"].reason == "as made"
