"""Weights in blocks: what is stored, beside ONNX Runtime's blocked DequantizeLinear and beside ml_dtypes."""

from __future__ import annotations

from dataclasses import replace

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest

from calibration.table import CalibrationTable
from engines.onnxruntime.graph import running, simulated_outputs
from graphs.tensorrt.lint import Rule, lint
from optimizer.quantization.codes.blocks import (
    blocked,
    codes_of,
    expanded,
    exponents_of,
    level_of,
    plain_scales,
    search_scales,
    values_of,
)
from optimizer.quantization.codes.scheme import CPU_INT4, INT4_WEIGHTS, MXFP8, NVFP4, WeightScheme
from optimizer.quantization.insertion.block_weights import rounded_in_blocks, weight_values
from optimizer.quantization.insertion.qdq import insert
from optimizer.quantization.placement.place import place
from tests.optimizer.quantization.models import normal, parse

SCHEMES = {"int4": INT4_WEIGHTS.weights, "nvfp4": NVFP4.weights, "mxfp8": MXFP8.weights}
EMPTY = CalibrationTable({}, "none", 0, True, "", "")


@pytest.mark.parametrize("name", SCHEMES)
@pytest.mark.parametrize("inputs", [200, 256])
def test_every_block_keeps_its_values_within_half_a_step(name: str, inputs: int) -> None:
    scheme, rows = SCHEMES[name], normal(24, inputs)
    rows[3] = 0
    rows[4, :70] *= 1e-3
    scales = plain_scales(rows, scheme)
    values = values_of(codes_of(rows, scales, scheme), scales, scheme)
    assert scales.shape == (24, -(-inputs // scheme.block)) and (scales > 0).all()
    assert not values[3].any()
    largest = expanded(np.abs(blocked(rows, scheme.block)).max(axis=2), scheme.block, inputs)
    assert (np.abs(values - rows) <= 0.2 * largest + 1e-4).all(), "FP4's widest gap is a third of its largest number"


@pytest.mark.parametrize("name", SCHEMES)
def test_searched_scales_are_never_worse_and_weigh_what_is_large(name: str) -> None:
    scheme, rows = SCHEMES[name], normal(16, 256, seed=3)
    importance = np.ones(256, np.float32)
    importance[::8] = 100

    def error(scales: np.ndarray) -> float:
        wrong = values_of(codes_of(rows, scales, scheme), scales, scheme) - rows
        return float((np.square(wrong) * importance).sum())

    assert error(search_scales(rows, scheme, importance)) <= error(plain_scales(rows, scheme)) * 1.0001
    assert error(search_scales(rows, scheme, importance)) <= error(search_scales(rows, scheme)) * 1.0001


def test_two_levels_are_fp8_under_a_power_of_two_that_is_found_again() -> None:
    rows = normal(8, 64) * np.float32(1e-4)
    scales = plain_scales(rows, NVFP4.weights)
    level = level_of(scales)
    stored = (scales / level).astype(ml_dtypes.float8_e4m3fn)
    assert np.log2(level) == round(np.log2(level))
    assert np.array_equal(stored.astype(np.float32) * level, scales)


def test_powers_of_two_are_the_exponents_of_e8m0() -> None:
    scales = plain_scales(normal(8, 64), MXFP8.weights)
    assert np.array_equal(exponents_of(scales).view(ml_dtypes.float8_e8m0fnu).astype(np.float32), scales)
    largest = np.abs(blocked(normal(8, 64), 32)).max(axis=2)
    assert (largest / scales <= 448).all() and (largest / scales > 223).all(), "nothing is clipped, no octave is lost"


def products(k: int, n: int) -> ir.Model:
    return parse(
        f"""<ir_version: 10, opset_import: ["" : 21]> g (float[N, {k}] x, float[{k}, {n}] w, float[{n}, {k}] t,
        float[{n}] b) => (float[N, {n}] y, float[N, {n}] z) {{
            y = MatMul (x, w)
            z = Gemm <transB = 1> (x, t, b)
        }}""",
        {"w": normal(k, n), "t": normal(n, k, seed=1), "b": normal(n)},
    )


@pytest.mark.parametrize("k", [256, 200])
def test_onnx_runtime_reads_blocks_as_they_are_meant(k: int) -> None:
    scheme = replace(INT4_WEIGHTS, weights=replace(INT4_WEIGHTS.weights, block=64))
    model, x = products(k, 96), normal(5, k, scale=1.0)
    placement = place(model, scheme=scheme, keep_float={})
    known = {point.tensor: point for point in placement.weights}
    w, t = (model.graph.initializers[name].const_value for name in "wt")
    rounded = [
        weight_values(rounded_in_blocks(tensor, known[name]), known[name]) for name, tensor in (("w", w), ("t", t))
    ]
    insert(model, placement, EMPTY)
    assert not lint(model)
    (found,) = simulated_outputs(model, [{"x": x}])
    assert np.allclose(found["y"], x @ rounded[0], atol=1e-4)
    assert np.allclose(found["z"], x @ rounded[1].T + normal(96), atol=1e-4)


def test_the_cpu_makes_one_kernel_of_codes_and_product() -> None:
    model = products(256, 96)
    insert(model, place(model, scheme=CPU_INT4, keep_float={}), EMPTY)
    with running(model) as fused, running(model, fuse_qdq=False) as plain:
        x = {"x": normal(3, 256, scale=1.0)}
        one, two = fused.infer(x)["y"], plain.infer(x)["y"]
    noise = np.square(one - two).sum() / np.square(two).sum()
    assert 1e-9 < noise < 1e-3, "its kernel rounds data to 8 bits, too: a kernel of its own it was"


def test_blocks_along_the_wrong_axis_are_found() -> None:
    model = products(256, 96)
    insert(model, place(model, scheme=INT4_WEIGHTS, keep_float={}), EMPTY)
    for node in model.graph:
        if node.op_type == "DequantizeLinear":
            node.attributes["axis"] = ir.AttrInt64("axis", 1 - node.attributes.get_int("axis", 0))
    assert [finding.rule for finding in lint(model)] == [Rule.WEIGHT_AXIS] * 2


def test_per_channel_weights_alone_have_a_scale_per_output() -> None:
    scheme = WeightScheme()
    assert plain_scales(normal(6, 40), scheme).shape == (6, 1)
