"""Types, Q/DQ, precisions and names of a lowered typed graph."""
# ruff: noqa: E501 (models as text)

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from engines.errors import BuildError, BuildFailure
from graphs.reading.constants import constant_array
from graphs.tensorrt.lint import Rule
from graphs.tensorrt.tensorrt8.lint import lint_tensorrt8
from optimizer.precision import Dtype
from optimizer.simulation.float_twin import float_twin
from optimizer.tensorrt8.half_again import half_again
from optimizer.tensorrt8.lowering import lower_for_tensorrt8
from optimizer.tensorrt8.meaning import first_difference, same_meaning
from optimizer.tensorrt8.unquantized import unquantized
from tests.optimizer.tensorrt8.lowering import answers, lowered, model_of, node_of, normal, operators, refusals

TYPED = """g (float[N, 1, 6, 6] x) => (float[N, 2] y)
<float half_s = {0.02}, int8 z = {0}, int8[2, 1, 3, 3] w = {1, -2, 3, 127, -127, 6, 7, 8, 9, 10, 11, 12, -13, 14, 15, 16, 17, 18},
 float[2] half_ws = {0.01, 0.5}, int8[2] wz = {0, 0}, float[2] half_b = {0.25, -1}, float[2] half_scale = {1, 2}, int64[1] last = {-1}> {
    h = Cast<to = 10>(x)
    q = QuantizeLinear(h, half_s, z) d = DequantizeLinear(q, half_s, z) wd = DequantizeLinear<axis = 0>(w, half_ws, wz)
    [conv] c = Conv(d, wd, half_b)
    [pool] p = GlobalAveragePool(c)
    f = Flatten(p)
    [norm] n = LayerNormalization(f, half_scale)
    wide = Cast<to = 1>(n)
    [sum] t = ReduceSum(wide, last)
    [product] y = Mul(wide, t)
}"""


def test_types_are_fp32_and_weights_are_quantized_from_fp32() -> None:
    found = lowered(TYPED)
    assert lint_tensorrt8(found.model) == []
    assert {value.dtype for node in found.model.graph for value in node.outputs} == {
        ir.DataType.FLOAT,
        ir.DataType.INT8,
    }
    assert operators(found.model)["Cast"] == 0 and operators(found.model)["QuantizeLinear"] == 2
    weight = node_of(found.model, "Conv").inputs[1]
    dequantize = weight.producer() if weight is not None else None
    quantize = dequantize.inputs[0].producer() if dequantize is not None and dequantize.inputs[0] is not None else None
    assert quantize is not None and quantize.op_type == "QuantizeLinear" and quantize.attributes.get_int("axis", 1) == 0
    floats, scale = constant_array(quantize.inputs[0]), constant_array(quantize.inputs[1])
    assert floats is not None and floats.dtype == np.float32 and scale is not None and scale.dtype == np.float32


def test_every_node_keeps_its_name_and_precision() -> None:
    found = lowered(TYPED)
    names = {node.name for node in found.model.graph}
    assert {"conv", "pool", "norm", "sum"} <= names
    assert found.precisions["conv"] is Dtype.INT8
    assert found.precisions["pool"] is found.precisions["norm"] is Dtype.FP16
    assert found.precisions["sum"] is Dtype.FP32
    parts = {name: dtype for name, dtype in found.precisions.items() if name.startswith("norm_")}
    halves, wide = ({name for name in parts if parts[name] is dtype} for dtype in (Dtype.FP16, Dtype.FP32))
    assert len(halves) >= 2 and halves | wide == set(parts)
    assert wide == {"norm_pow", "norm_reducemean_2", "norm_add", "norm_sqrt", "norm_div"}, "squares and the epsilon"
    assert set(found.precisions) <= names
    assert found.rounded >= {"conv", "norm", *halves} and not found.rounded & {"sum", *wide}


def test_the_lowered_graph_means_the_same_and_what_differs_is_named() -> None:
    typed = model_of(TYPED)
    found = lower_for_tensorrt8(typed)
    feed = {"x": normal(3, 1, 6, 6)}
    assert same_meaning(typed, found, [feed]).near
    assert first_difference(typed, found, feed) == ""
    next(node for node in found.model.graph if node.name == "product").op_type = "Add"
    assert not same_meaning(typed, found, [feed]).near
    assert first_difference(typed, found, feed) == "product"


def test_a_scale_that_differs_is_named() -> None:
    typed = model_of(TYPED)
    found = lower_for_tensorrt8(typed)
    quantize = next(node for node in found.model.graph if node.op_type == "QuantizeLinear")
    scale = quantize.inputs[1]
    assert scale is not None and scale.const_value is not None
    scale.const_value = ir.tensor(scale.const_value.numpy() * np.float32(1.01), name=scale.name)
    same = same_meaning(typed, found, [{"x": normal(1, 1, 6, 6)}])
    assert not same.near and quantize.name is not None and quantize.name in same.why


def test_codes_that_fall_either_way_are_no_difference() -> None:
    """With Q/DQ, an error in the last bit before a Q is noise behind it; the meaning is compared without."""
    model = model_of(TYPED)
    found = unquantized(lower_for_tensorrt8(model).model)
    assert found is not None
    assert not {"QuantizeLinear", "DequantizeLinear"} & set(operators(found))
    text = "g (float[2] x) => (int8[2] y) <float s = {0.5}, int8 z = {0}> { y = QuantizeLinear(x, s, z) }"
    assert unquantized(model_of(text)) is None, "codes are asked for"


def test_computed_in_half_where_it_may_be_it_loses_what_the_typed_graph_loses() -> None:
    typed = model_of(TYPED)
    found = lower_for_tensorrt8(typed)
    halves = half_again(found)
    assert halves.opset_imports[""] == 21
    x = normal(4, 1, 6, 6)
    wide, twins = answers(found.model, {"x": x})["y"], []
    for model in (typed.clone(), halves):
        float_twin(model)
        twins.append(answers(model, {"x": x})["y"])
    errors = [float(np.abs(twin - wide).max()) for twin in twins]
    assert 0 < errors[1] < 5 * errors[0]


def test_every_code_of_a_weight_comes_back() -> None:
    """Codes times scale, quantized again, for scales of all sizes."""
    codes = np.arange(-127, 128, dtype=np.int8).reshape(1, -1).repeat(64, 0)
    scales = np.float16(np.random.default_rng(0).uniform(6e-8, 1, 64) ** 3 + 6e-8).astype(np.float16)
    model = ir.Model(ir.Graph([], [], nodes=[], name="g", opset_imports={"": 21}), ir_version=10)
    graph = model.graph
    values = [
        ir.Value(name=name, const_value=ir.tensor(array, name=name))
        for name, array in (("w", codes), ("s", scales), ("z", np.zeros(64, np.int8)))
    ]
    for value in values:
        value.type, value.shape = ir.TensorType(value.const_value.dtype), value.const_value.shape  # type: ignore[union-attr]
        graph.register_initializer(value)
    node = ir.node("DequantizeLinear", values, {"axis": 0}, name="dq")
    node.outputs[0].name, node.outputs[0].type, node.outputs[0].shape = (
        "y",
        ir.TensorType(ir.DataType.FLOAT16),
        ir.Shape(codes.shape),
    )
    graph.append(node)
    graph.outputs.append(node.outputs[0])
    found = lower_for_tensorrt8(model)
    quantized = node_of(found.model, "QuantizeLinear").outputs[0]
    quantized.name = "codes"
    found.model.graph.outputs.append(quantized)
    assert (answers(found.model, {})["codes"] == codes).all()


def test_half_precision_inputs_and_outputs_stay() -> None:
    text = "g (float16[N, 3] x) => (float16[N, 3] y, float16[N, 3] z) { y = Relu(x) z = Identity(x) }"
    found = lowered(text)
    assert [value.dtype for value in (*found.model.graph.inputs, *found.model.graph.outputs)] == [
        ir.DataType.FLOAT16
    ] * 3
    x = normal(2, 3).astype(np.float16)
    given = answers(found.model, {"x": x})
    assert (given["y"] == np.maximum(x, 0)).all() and (given["z"] == x).all()


@pytest.mark.parametrize(
    "kind",
    [
        "uint8[2, 1] w = {120, 140}, uint8 wz = {130}",
        "int32[2, 1] w = {1000, -5}, int32 wz = {0}",
        "int8[2, 1] w = {1, -7}, int8 wz = {3}",
    ],
)
def test_constants_of_other_codes_are_dequantized(kind: str) -> None:
    text = f"g (float[N, 2] x) => (float[N, 1] y) <{kind}, float ws = {{0.25}}> {{ wd = DequantizeLinear(w, ws, wz) y = MatMul(x, wd) }}"
    found = lowered(text)
    assert operators(found.model) == {"MatMul": 1} and lint_tensorrt8(found.model) == []
    x = normal(3, 2)
    np.testing.assert_allclose(answers(found.model, {"x": x})["y"], answers(model_of(text), {"x": x})["y"], rtol=1e-6)


def test_weights_in_blocks_are_dequantized() -> None:
    text = """g (float[N, 4] x) => (float[N, 2] y) <int8[4, 2] w = {1, 2, 3, 4, 5, 6, 7, 8}, float[2, 2] ws = {0.5, 1, 0.25, 2}> {
        wd = DequantizeLinear<axis = 0, block_size = 2>(w, ws) y = MatMul(x, wd) }"""
    found = lowered(text)
    x = normal(3, 4)
    np.testing.assert_allclose(answers(found.model, {"x": x})["y"], answers(model_of(text), {"x": x})["y"], rtol=1e-6)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("g (float[N, 2] x) => (float[N, 2] y) <float s = {0.5}, uint8 z = {128}> { q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z) }", Rule.ZERO_POINT),
        ("g (float[N, 2] x) => (float[N, 2] y) <float[2] s = {0.5, 1}, int8[2] z = {0, 0}> { q = QuantizeLinear<axis = 1>(x, s, z) y = DequantizeLinear<axis = 1>(q, s, z) }", Rule.PER_TENSOR),
        ("g (float[N, 2] x, float s) => (float[N, 2] y) <int8 z = {0}> { q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z) }", Rule.SCALE_TYPE),
    ],
)  # fmt: skip
def test_quantizers_that_8_does_not_take_are_refused(text: str, rule: Rule) -> None:
    assert rule in {found for found, _ in refusals(text)}


def test_a_refusal_names_the_node_and_counts_the_others() -> None:
    text = "g (float[2, 2] x) => (float y) { [one] a = Det(x) [two] b = Det(x) y = Add(a, b) }"
    with pytest.raises(BuildError) as error:
        lower_for_tensorrt8(model_of(text))
    assert error.value.where == "one" and error.value.failure is BuildFailure.UNSUPPORTED_OP
    assert "no operator Det" in str(error.value) and "1 more" in str(error.value)
