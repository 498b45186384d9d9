"""Weights alone in codes: scaling, rounding and judging on data whose channels are unlike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from engines.engine import Feed
from engines.onnxruntime.graph import simulated_outputs
from optimizer.corrections import ALL, Correction
from optimizer.precision import Dtype
from optimizer.quantization.codes.scheme import INT4_WEIGHTS, INT8_WEIGHTS, Scheme
from optimizer.quantization.corrections.fallback import Allowance
from optimizer.quantization.observing.calibrating import Calibrator
from optimizer.quantization.prepared import Prepared
from optimizer.quantization.prepared_files import load_prepared, save_prepared
from optimizer.quantization.quantize import prepare
from optimizer.quantization.settings import QuantizeSettings
from optimizer.settings.asked_plan import AskedPlan
from tests.optimizer.quantization.models import normal, parse

WIDTH = 256
SIZES = np.exp(np.random.default_rng(7).normal(0, 1.2, WIDTH)).astype(np.float32)
"""How large each channel is: a few carry most of the power, as in transformers."""


def block() -> ir.Model:
    return parse(
        f"""<ir_version: 10, opset_import: ["" : 21]> g (float[N, {WIDTH}] x, float[{WIDTH}] gain, float[{WIDTH}] shift,
        float[{WIDTH}, {WIDTH}] up, float[{WIDTH}, {WIDTH}] down) => (float[N, {WIDTH}] y) {{
            normed = LayerNormalization <axis = -1> (x, gain, shift)
            wide = MatMul (normed, up)
            act = Relu (wide)
            y = MatMul (act, down)
        }}""",
        {
            "gain": SIZES,
            "shift": normal(WIDTH, seed=2),
            "up": normal(WIDTH, WIDTH, seed=3) / SIZES[:, None] ** 0.5,
            "down": normal(WIDTH, WIDTH, seed=4),
        },
    )


def feeds(count: int = 24) -> list[Feed]:
    mix = normal(WIDTH, WIDTH, seed=5, scale=1.0) * np.exp(-np.arange(WIDTH) / 40, dtype=np.float32)[:, None]
    return [{"x": normal(32, WIDTH, seed=10 + k, scale=1.0) @ mix} for k in range(count)]


def prepared(scheme: Scheme, *without: Correction) -> Prepared:
    data = feeds()
    calibrator = Calibrator(lambda: data[:16], batchable=False, methods=("minmax",))
    left = {Correction.FALLBACK, *without}
    return prepare(block(), calibrator, QuantizeSettings(scheme=scheme, corrections=ALL - left), lambda _: None)


def noise_db(model: ir.Model) -> float:
    unseen = feeds()[16:]
    pairs = zip(simulated_outputs(block(), unseen), simulated_outputs(model, unseen), strict=True)
    signal = error = 0.0
    for wanted, found in pairs:
        signal += float(np.square(wanted["y"]).sum())
        error += float(np.square(wanted["y"] - found["y"]).sum())
    return 10 * np.log10(error / signal)


@pytest.fixture(scope="module")
def best() -> Prepared:
    return prepared(INT4_WEIGHTS)


def test_int4_gains_over_rounding_to_nearest_on_samples_it_has_not_seen(best: Prepared) -> None:
    plain = prepared(INT4_WEIGHTS, Correction.ROUNDING, Correction.CHANNELS)
    ours = best.quantized(Allowance())
    assert noise_db(ours.model) < noise_db(plain.quantized(Allowance()).model) - 1
    assert {node.dtype for node in ours.plan.nodes.values() if node.op_type == "MatMul"} == {Dtype.INT4}
    assert ours.plan.computes_in == "int4"


def test_scaling_goes_into_the_norm_and_changes_no_answer(best: Prepared) -> None:
    assert any("inputs scaled" in note for note in best.notes)
    assert [node.op_type for node in best.model.graph].count("Mul") <= 1
    assert noise_db(best.model) < -90


def test_a_prepared_graph_is_read_back_as_it_was(best: Prepared, tmp_path: Path) -> None:
    save_prepared(best, tmp_path)
    again = load_prepared(tmp_path, best.judged).quantized(Allowance())
    x = feeds(1)
    (one,), (two,) = simulated_outputs(best.quantized(Allowance()).model, x), simulated_outputs(again.model, x)
    assert np.array_equal(one["y"], two["y"])


def test_int8_weights_lose_next_to_nothing() -> None:
    quantized = prepared(INT8_WEIGHTS).quantized(Allowance())
    assert noise_db(quantized.model) < -34
    assert quantized.plan.computes_in == "int8wo"
    assert not [node for node in quantized.model.graph if node.op_type == "QuantizeLinear"]


def test_a_plan_may_leave_a_weight_in_float(best: Prepared) -> None:
    kept = best.following(AskedPlan.of({"wide": "fp16"})).quantized(Allowance())
    assert [node.name for node in kept.model.graph if node.op_type == "DequantizeLinear"] == ["down/DQ"]
    assert kept.plan.nodes["y"].dtype is Dtype.INT4
