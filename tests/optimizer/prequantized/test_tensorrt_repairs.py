"""What TensorRT refuses or does not fuse, repaired: the smallest graph for each."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphs.reading.quantizers import pairs
from graphs.reading.shapes import infer_shapes
from graphs.tensorrt.lint import lint
from optimizer.equivalence import Equivalence, compare_graphs
from optimizer.prequantized.tensorrt.borders import numbers_at_borders
from optimizer.prequantized.tensorrt.half_quantized import float_constants, float_weights
from optimizer.prequantized.tensorrt.residual import quantized_skips
from optimizer.prequantized.tensorrt.unfused import without_unfused
from optimizer.prequantized.tensorrt.zero_points import symmetric_activations, symmetric_weights, without_zero_points

HEAD = '<ir_version: 10, opset_import: ["" : 21]>\n'
WEIGHT = (
    "int8[4,4,1,1] w = {1, -2, 3, 4, 50, 60, -70, 80, 9, 10, 11, 12, -13, 14, 15, 16}, float ws = {0.01}, int8 wz = {0}"
)
MAKE_WEIGHT = "dw = DequantizeLinear(w, ws, wz)"


def _model(text: str) -> ir.Model:
    model = ir.from_onnx_text(HEAD + text)
    infer_shapes(model)
    return model


def _beside(text: str, repair: Callable[[ir.Model], list[str]], scale: float = 3.0) -> tuple[ir.Model, Equivalence]:
    model = _model(text)
    assert repair(model)
    rng = np.random.default_rng(0)
    shape, dtype = tuple(model.graph.inputs[0].shape.numpy()), model.graph.inputs[0].dtype
    x = (
        rng.standard_normal((8, *shape[1:])) * scale
        if dtype is ir.DataType.FLOAT
        else rng.integers(0, 255, (8, *shape[1:]))
    )
    return model, compare_graphs(_model(text), model, [{"x": x[:1].astype(dtype.numpy())}], fuse_qdq=False)


def _ops(model: ir.Model) -> list[str]:
    return [node.op_type for node in model.graph]


def _conv(zero: str, activation: str = "", scale: str = "0.05") -> str:
    """A quantized convolution whose data has codes around ``zero``."""
    return f"""g (float[1,4,4,4] x) => (float[1,4,4,4] y) <float s = {{{scale}}}, {zero}, {WEIGHT}> {{
        a = {activation or "Identity"}(x)
        c = QuantizeLinear(a, s, z)
        d = DequantizeLinear(c, s, z)
        {MAKE_WEIGHT}
        y = Conv(d, dw)
    }}"""


@pytest.mark.parametrize(
    ("zero", "activation", "added"),
    [
        ("uint8 z = {0}", "", ["Relu"]),
        ("uint8 z = {0}", "Relu", []),
        ("int8 z = {-128}", "", ["Relu"]),
        ("uint8 z = {100}", "", ["Clip"]),
        ("int8 z = {90}", "", ["Clip"]),
        ("uint8 z = {127}", "", []),
    ],
)
def test_a_zero_point_becomes_a_range_around_zero_and_a_bound(zero: str, activation: str, added: list[str]) -> None:
    model, found = _beside(_conv(zero, activation), symmetric_activations, scale=6.0)
    (pair,) = pairs(model.graph)
    assert (pair.dtype, pair.zero) == (ir.DataType.INT8, 0)
    assert not lint(model)
    assert [op for op in _ops(model) if op in ("Relu", "Clip")] == ([activation] if activation else []) + added
    assert found.sqnr_db > 25, found


@given(
    zero=st.integers(0, 255),
    scale=st.floats(1e-3, 10),
    values=st.lists(st.floats(-400, 400, width=32), min_size=1, max_size=20),
)
@settings(max_examples=60, deadline=None)
def test_no_number_moves_further_than_both_steps(zero: int, scale: float, values: list[float]) -> None:
    """The source is half of its step off inside its range, the repaired one half of a step of at most 255/127 of it; at
    the ends of the range both saturate."""
    text = f"""g (float[N] x) => (float[N] y) <float s = {{{scale}}}, uint8 z = {{{zero}}}> {{
        c = QuantizeLinear(x, s, z)
        d = DequantizeLinear(c, s, z)
        y = Identity(d)
    }}"""
    model = _model(text)
    symmetric_activations(model)
    feed = {"x": np.array(values, np.float32)}
    found = compare_graphs(_model(text), model, [feed], fuse_qdq=False)
    wider = max(zero, 255 - zero) / 127
    assert found.max_abs <= scale * (0.5 + 1.51 * wider) + 1e-4, (found, wider)


WIDE = {"two": "uint8[2,2] w = {0, 255, 130, 120}", "one": "uint8[2,2] w = {10, 200, 130, 120}"}


@pytest.mark.parametrize(("codes", "exact"), [("one", True), ("two", False)])
def test_a_weight_with_a_zero_point_is_moved_where_int8_holds_it(codes: str, exact: bool) -> None:
    text = f"""g (float[1,2] x) => (float[1,2] y) <float s = {{0.1}}, uint8 z = {{115}}, {WIDE[codes]}> {{
        d = DequantizeLinear(w, s, z)
        y = MatMul(x, d)
    }}"""
    model, found = _beside(text, symmetric_weights)
    node = model.graph[0]
    assert node.inputs[0] is not None and node.inputs[0].dtype is ir.DataType.INT8 and not lint(model)
    assert (found.max_abs < 1e-5) is exact
    assert found.sqnr_db > 40


def test_of_a_weight_that_int8_does_not_hold_the_channels_that_fit_keep_their_codes() -> None:
    text = f"""g (float[1,2] x) => (float[1,2] y) <float s = {{0.1}}, uint8 z = {{115}}, {WIDE["two"]}> {{
        d = DequantizeLinear(w, s, z)
        y = MatMul(x, d)
    }}"""
    model, _ = _beside(text, symmetric_weights)
    codes, scale = (value.const_value.numpy() for value in model.graph[0].inputs[:2])  # type: ignore[union-attr]
    assert codes[:, 0].tolist() == [-115, 15] and scale[0] == np.float32(0.1)
    assert scale[1] == pytest.approx(0.1 * 140 / 127)


PAIR_BEFORE_RELU = f"""g (float[1,4,4,4] x) => (float[1,4,4,4] y) <float s = {{0.05}}, int8 z = {{0}}, {WEIGHT}> {{
    c = QuantizeLinear(x, s, z)
    d = DequantizeLinear(c, s, z)
    {MAKE_WEIGHT}
    h = Conv(d, dw)
    c2 = QuantizeLinear(h, s, z)
    d2 = DequantizeLinear(c2, s, z)
    r = Relu(d2)
    c3 = QuantizeLinear(r, s, z)
    d3 = DequantizeLinear(c3, s, z)
    y = Conv(d3, dw)
}}"""


def test_a_pair_between_a_convolution_and_its_relu_goes() -> None:
    model, found = _beside(PAIR_BEFORE_RELU, without_unfused)
    relu = next(node for node in model.graph if node.op_type == "Relu")
    assert relu.inputs[0] is not None and relu.inputs[0].producer().op_type == "Conv"  # type: ignore[union-attr]
    assert _ops(model).count("QuantizeLinear") == 2 and found.sqnr_db > 25


def test_a_pair_at_the_end_goes_and_the_output_keeps_its_name() -> None:
    text = _conv("int8 z = {0}").replace(
        "y = Conv(d, dw)", "h = Conv(d, dw) c2 = QuantizeLinear(h, s, z) y = DequantizeLinear(c2, s, z)"
    )
    model, found = _beside(text, without_unfused, scale=1.0)
    assert model.graph.outputs[0].name == "y" and _ops(model).count("QuantizeLinear") == 1
    assert found.sqnr_db > 20


def test_what_no_product_reads_is_not_rounded() -> None:
    text = """g (float[1,4] x) => (float[1,4] y) <float s = {0.05}, uint8 z = {0}> {
        c = QuantizeLinear(x, s, z)
        d = DequantizeLinear(c, s, z)
        y = Softmax(d)
    }"""
    model, found = _beside(text, without_unfused)
    assert _ops(model) == ["Clip", "Softmax"]  # the ReLU that the codes stood for
    assert found.sqnr_db > 25


RESIDUAL = f"""g (float[1,4,4,4] x) => (float[1,4,4,4] y) <float s = {{0.05}}, int8 z = {{0}}, {WEIGHT}> {{
    a = Relu(x)
    c = QuantizeLinear(a, s, z)
    d = DequantizeLinear(c, s, z)
    {MAKE_WEIGHT}
    h = Conv(d, dw)
    [sum] t = Add(h, SKIP)
    r = Relu(t)
    c3 = QuantizeLinear(r, s, z)
    d3 = DequantizeLinear(c3, s, z)
    y = Conv(d3, dw)
}}"""


def test_a_skip_branch_reads_the_codes_that_there_are() -> None:
    model, found = _beside(RESIDUAL.replace("SKIP", "a"), quantized_skips)
    total = next(node for node in model.graph if node.name == "sum")
    assert total.inputs[1] is not None and total.inputs[1].name == "d"
    assert found.sqnr_db > 25


def test_a_skip_branch_without_a_range_stays_float_and_is_named() -> None:
    model = _model(RESIDUAL.replace("SKIP", "x"))
    (note,) = quantized_skips(model)
    assert "'sum'" in note and "stay float" in note


def test_a_convolution_is_not_rounded_before_its_sum() -> None:
    text = RESIDUAL.replace(
        "[sum] t = Add(h, SKIP)",
        "c2 = QuantizeLinear(h, s, z) d2 = DequantizeLinear(c2, s, z) [sum] t = Add(d2, d)",
    )
    model, found = _beside(text, without_unfused)
    total = next(node for node in model.graph if node.name == "sum")
    assert total.inputs[0] is not None and total.inputs[0].name == "h"
    assert _ops(model).count("QuantizeLinear") == 2 and found.sqnr_db > 25


def test_a_weight_beside_float_data_is_float() -> None:
    text = f"""g (float[1,4,4,4] x) => (float[1,4,4,4] y) <{WEIGHT}> {{
        {MAKE_WEIGHT}
        y = Conv(x, dw)
    }}"""
    model, found = _beside(text, float_weights)
    assert _ops(model) == ["Conv"] and found.same


def test_inputs_and_outputs_of_codes_are_numbers_inside() -> None:
    text = f"""g (uint8[1,4,4,4] x) => (uint8[1,4,4,4] y)
    <float s = {{0.05}}, uint8 z = {{128}}, float s2 = {{0.3}}, uint8 z2 = {{77}}, {WEIGHT}> {{
        d = DequantizeLinear(x, s, z)
        {MAKE_WEIGHT}
        h = Conv(d, dw)
        y = QuantizeLinear(h, s2, z2)
    }}"""
    model, found = _beside(text, numbers_at_borders)
    assert found.same, found
    assert model.graph.inputs[0].dtype is ir.DataType.UINT8
    (pair,) = pairs(model.graph)
    assert pair.data.producer().op_type == "Mul"  # type: ignore[union-attr]


def test_activations_with_zero_points_can_stay_float() -> None:
    model, found = _beside(_conv("uint8 z = {0}"), without_zero_points)
    assert "QuantizeLinear" not in _ops(model) and "Clip" in _ops(model)
    assert found.sqnr_db > 30


def test_a_factor_in_codes_is_a_number_and_a_weight_stays_codes() -> None:
    text = f"""g (float[1,4,4,4] x) => (float[1,4,4,4] y)
    <float s = {{0.05}}, int8 z = {{0}}, int8 f = {{40}}, {WEIGHT}> {{
        c = QuantizeLinear(x, s, z)
        d = DequantizeLinear(c, s, z)
        {MAKE_WEIGHT}
        h = Conv(d, dw)
        k = DequantizeLinear(f, s, z)
        y = Mul(h, k)
    }}"""
    model, found = _beside(text, float_constants)
    assert found.same and _ops(model).count("DequantizeLinear") == 2
    factor = next(node for node in model.graph if node.op_type == "Mul").inputs[1]
    assert factor is not None and factor.const_value is not None
    assert float(factor.const_value.numpy()) == pytest.approx(2.0)


@pytest.mark.parametrize(("mode", "bounded"), [("linear", False), ("cubic", True)])
def test_only_a_cubic_resize_of_no_negative_number_needs_a_bound(mode: str, bounded: bool) -> None:
    text = f"""g (float[1,1,4,4] x) => (float[1,1,8,8] y)
    <float s = {{0.05}}, uint8 z = {{0}}, float[4] f = {{1, 1, 2, 2}}> {{
        a = Relu(x)
        b = Resize<mode = "{mode}">(a, , f)
        c = QuantizeLinear(b, s, z)
        d = DequantizeLinear(c, s, z)
        y = Softmax(d)
    }}"""
    model, found = _beside(text, without_unfused)
    assert ("Clip" in _ops(model)) is bounded and found.sqnr_db > 25
