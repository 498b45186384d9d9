"""Graphs of every format typed as the command types them, linted, simulated, and built by the real TensorRT-RTX."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from engines.build import BuildRequest, build_engine
from engines.engine import Feed
from engines.errors import BuildError, BuildFailure
from engines.onnxruntime.graph import simulated_outputs
from engines.profile import ShapeProfile, ShapeRange
from engines.targets.target import TARGETS
from engines.tensorrt.library import installed
from graphs.storage.saving import save_model
from graphs.tensorrt.lint import lint
from optimizer.quantization.observing.calibrating import Calibrator
from optimizer.quantization.settings import QuantizeSettings
from optimizer.settings.options import Precision
from optimizer.simulation.run import simulated
from optimizer.typed.graph import type_by_structure, type_graph
from optimizer.typed.schemes import cpu_scheme, tensorrt_scheme
from tests.optimizer.quantization.models import normal, parse

LEAST_DB = {"fp8": 25, "int8wo": 35, "int4": 15, "nvfp4": 13, "mxfp8": 25}
"""What a product of normal numbers has at least: FP8 has 4 bits of its own, FP4 two."""
FIRST = {"fp8": "l4", "int8wo": "t4", "int4": "a100", "nvfp4": "blackwell", "mxfp8": "blackwell"}
BEFORE = {"fp8": "a100", "int4": "t4", "nvfp4": "l4"}
PROFILE = ShapeProfile({"x": ShapeRange((1, 256), (4, 256), (8, 256))})
FEEDS: list[Feed] = [{"x": normal(4, 256, seed=20 + k, scale=1.0)} for k in range(16)]


def source() -> ir.Model:
    return parse(
        """<ir_version: 10, opset_import: ["" : 21]> g (float[N, 256] x, float[256, 256] w, float[64, 256] t,
        float[64] b) => (float[N, 64] y) {
            wide = MatMul (x, w)
            act = Relu (wide)
            y = Gemm <transB = 1> (act, t, b)
        }""",
        {"w": normal(256, 256), "t": normal(64, 256, seed=1), "b": normal(64)},
    )


@pytest.fixture(scope="module")
def typed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {}
    for name in LEAST_DB:
        precision = Precision(name)
        calibrator = Calibrator(lambda: FEEDS[:12], batchable=False, methods=("minmax",))
        settings = QuantizeSettings(scheme=tensorrt_scheme(precision))
        graph = type_graph(source(), precision, lambda _: iter(FEEDS[:12]), settings, calibrator)
        assert graph.plan.computes_in == name
        made[name] = tmp_path_factory.mktemp(name) / "model.onnx"
        save_model(graph.model, made[name])
    return made


@pytest.mark.parametrize("name", LEAST_DB)
def test_what_is_written_is_clean_half_and_close(name: str, typed: dict[str, Path]) -> None:
    model = ir.load(typed[name])
    assert not lint(model)
    products = [node for node in model.graph if node.op_type in ("MatMul", "Gemm")]
    assert {node.outputs[0].dtype for node in products} == {ir.DataType.FLOAT16}
    wanted = simulated_outputs(source(), FEEDS[12:])
    with simulated(typed[name]) as engine:
        found = [engine.infer(feed)["y"] for feed in FEEDS[12:]]
    error = sum(float(np.square(a["y"] - b).sum()) for a, b in zip(wanted, found, strict=True))
    signal = sum(float(np.square(a["y"]).sum()) for a in wanted)
    assert 10 * np.log10(signal / error) > LEAST_DB[name]


@pytest.mark.skipif(not installed("tensorrt_rtx"), reason="the rtx extra is not installed")
@pytest.mark.parametrize("name", LEAST_DB)
def test_tensorrt_builds_it_for_the_first_gpus_that_have_it(name: str, typed: dict[str, Path], tmp_path: Path) -> None:
    request = BuildRequest(typed[name], TARGETS[FIRST[name]], PROFILE, tmp_path / name, name)
    types = {kind for layer in build_engine(request, cache=False).layers for kind in (*layer.inputs, *layer.constants)}
    wanted = {"fp8": "float8", "int8wo": "int8", "int4": "int4", "nvfp4": "float4", "mxfp8": "float8"}[name]
    assert any(kind.startswith(wanted) for kind in types), types


@pytest.mark.skipif(not installed("tensorrt_rtx"), reason="the rtx extra is not installed")
@pytest.mark.parametrize("name", BEFORE)
def test_older_gpus_are_refused_by_tensorrt_as_by_our_table(name: str, typed: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(BuildError) as error:
        build_engine(BuildRequest(typed[name], TARGETS[BEFORE[name]], PROFILE, tmp_path / name, name), cache=False)
    assert error.value.failure is BuildFailure.UNSUPPORTED_TYPE


@pytest.mark.parametrize("name", LEAST_DB)
def test_types_can_be_had_without_data(name: str) -> None:
    model = type_by_structure(source(), Precision(name), {})
    assert not lint(model)
    assert any("equantize" in node.op_type for node in model.graph)


def test_the_cpu_has_int8_and_int4_of_these() -> None:
    found = {precision.value: cpu_scheme(precision) for precision in Precision}
    assert {name for name, scheme in found.items() if scheme is None} == {"fp8", "int8wo", "nvfp4", "mxfp8"}
    int4, int8 = found["int4"], found["int8"]
    assert int4 is not None and int4.name == "cpu-int4" and int8 is not None and int8.integer_results
