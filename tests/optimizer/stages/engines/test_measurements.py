"""Measurements are worth having, never worth a job: one that fails costs its figures and leaves a note."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import onnx

from benchmarks.samples.execute import output_problem
from engines.build import BuildRequest, build_engine
from engines.engine import TensorSpec
from engines.errors import EngineError
from engines.feeds.batching import Batching
from engines.open import open_engine
from engines.profile import ShapeProfile
from engines.targets.target import CPU
from graphs.files import read_record, write_record
from optimizer.attempt import STRICT
from optimizer.stages.engines import cpu

MODEL = '<ir_version: 8, opset_import: ["" : 17]> g (float[N,4] x) => (float[N,4] y) { y = Relu(x) }'
SPECS = (TensorSpec("x", "float32", ("N", 4), True),)


def choice(tmp_path):
    onnx.save(onnx.parser.parse_model(MODEL), tmp_path / "m.onnx")
    feed = {"x": np.ones((1, 4), np.float32)}
    return cpu.choose_cpu_form({"fp32": tmp_path / "m.onnx"}, None, feed, SPECS, ShapeProfile({}))


def failing(*_, **__):
    raise EngineError("the counter is gone")


def test_each_measurement_that_fails_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv(STRICT)
    monkeypatch.setattr(cpu, "SECONDS", 0.05)
    for name in ("measure_energy", "profile_kernels"):
        monkeypatch.setattr(cpu, name, failing)
    found = choice(tmp_path)
    assert found.form == "fp32" and found.latency and found.energy is None and found.op_times == []
    assert [note.split(" (")[0] for note in found.notes] == [
        "left out: energy of the CPU engine",
        "left out: time per operator in fp32",
    ]


def test_an_engine_that_cannot_be_timed_is_still_an_engine(tmp_path, monkeypatch):
    monkeypatch.delenv(STRICT)
    monkeypatch.setattr(cpu, "time_forms", failing)
    found = choice(tmp_path)
    assert found.form == "fp32" and found.speedup is None and not found.latency
    assert "timing of the CPU engine (the counter is gone)" in found.notes[0]


LARGE = """<ir_version: 8, opset_import: ["" : 17]>
g (float[N,4096] x) => (float[N,4096] y) { %s }"""


def test_where_int8_loses_the_record_says_what_took_the_time(tmp_path, monkeypatch):
    """The quantized graph of this test does the work of the float one, and twelve conversions beside it."""
    monkeypatch.setattr(cpu, "SECONDS", 0.05)
    chain = [f"c{i + 1} = Sin (c{i})" for i in range(12)]
    texts = {"fp32": "y = Tanh (x)", "int8": "\n".join(["c0 = Identity (x)", *chain, "y = Tanh (c12)"])}
    for form, text in texts.items():
        model = onnx.parser.parse_model(LARGE % text)
        for node in model.graph.node:
            node.name = "work" if node.output[0] == "y" else f"{node.output[0]}/Q"
        onnx.save(model, tmp_path / f"{form}.onnx")
    feed, specs = {"x": np.ones((8, 4096), np.float32)}, (TensorSpec("x", "float32", ("N", 4096), True),)
    found = cpu.choose_cpu_form(
        {form: tmp_path / f"{form}.onnx" for form in texts}, None, feed, specs, ShapeProfile({})
    )
    assert found.form == "fp32" and found.quantized_costs is not None
    assert found.quantized_costs.conversions >= 12 and found.quantized_costs.conversions_ms > 0.01
    assert "kernels that convert or move data: +" in found.quantized_costs.sentence
    assert set(found.node_times) == {"work"}


@dataclass(frozen=True)
class Found:
    errors: dict[str, float]
    shape: tuple[int | str, ...]
    missing: float | None = None


def test_a_record_keeps_what_is_not_finite(tmp_path):
    found = Found({"a": math.inf, "b": -math.inf, "c": 1.5}, (1, "batch"))
    write_record(tmp_path / "r.json", found)
    assert read_record(tmp_path / "r.json", Found) == found
    write_record(tmp_path / "r.json", Found({"a": math.nan}, ()))
    assert math.isnan(read_record(tmp_path / "r.json", Found).errors["a"])


def test_an_output_that_is_infinite_by_nature_is_no_failure():
    answer = {"y": np.array([[1.0, -np.inf]], np.float32)}
    spec = TensorSpec("y", "float32", ("N", 2))
    assert output_problem(answer, [spec], None) == ("samples with NaN or infinite outputs", "'y' is not finite")
    assert output_problem(answer, [replace(spec, finite=False)], None) is None


def test_the_manifest_keeps_what_is_known_of_the_tensors(tmp_path):
    onnx.save(onnx.parser.parse_model(MODEL), tmp_path / "m.onnx")
    known = Batching(("x",), ("y",))
    request = BuildRequest(
        tmp_path / "m.onnx", CPU, ShapeProfile({}), tmp_path / "e", "fp32", batching=known, not_finite=("y",)
    )
    build_engine(request)
    with open_engine(tmp_path / "e") as engine:
        assert engine.inputs[0].batch is True and engine.outputs[0].batch is True
        assert engine.inputs[0].finite and not engine.outputs[0].finite
