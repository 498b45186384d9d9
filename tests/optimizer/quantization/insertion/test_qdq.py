"""What the two inserters put into a graph, and that it computes the same up to quantization noise."""

# ruff: noqa: E501 (models as text)

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.table import CalibrationTable, TensorRange
from graphs.errors import BadInput
from graphs.reading.number_types import CODE_MAX
from optimizer.quantization.codes.scheme import ONNXRUNTIME, TENSORRT
from optimizer.quantization.codes.weights import anchored, fp16_representable, mse_scales, quantize
from optimizer.quantization.insertion.qdq import insert
from optimizer.quantization.placement.insertion_points import Use
from optimizer.quantization.placement.place import place
from optimizer.quantization.placement.place_for_cpu import place_for_cpu
from tests.optimizer.quantization.models import HEAD_19, conv_weight, normal, parse, residual, residual_model, table

RANGES = table(x=4.0, r=3.0, z=4.0, b=3.0, s=3.0, y=4.0, a=3.0)
X = np.random.default_rng(5).standard_normal((1, 16, 8, 8)).astype(np.float32)


def run(model: ir.Model, fuse: bool = False) -> np.ndarray:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    if not fuse:
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    session = ort.InferenceSession(ir.to_proto(model).SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": X})[0]


def sqnr(reference: np.ndarray, value: np.ndarray) -> float:
    return float(10 * np.log10(np.square(reference).sum() / np.square(reference - value).sum()))


def tensorrt_form() -> ir.Model:
    model = residual_model()
    insert(model, place(model, scheme=TENSORRT, keep_float={}, table=RANGES), RANGES)
    return model


def test_tensorrt_form_obeys_rules_1_2_and_4() -> None:
    model = tensorrt_form()
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    for node in model.graph:
        if node.op_type == "QuantizeLinear":
            assert node.inputs[2].const_value.dtype == ir.DataType.INT8
            assert not node.inputs[2].const_value.numpy().any()
            assert node.inputs[1].const_value.numpy().ndim == 0
    weights = {v.name: v.const_value for v in model.graph.initializers.values()}
    assert weights["w/int8"].dtype == ir.DataType.INT8 and "w" not in weights
    assert np.abs(weights["w/int8"].numpy()).max() == 127
    assert weights["w/scale"].shape.numpy() == (16,)


def test_each_activation_has_one_pair() -> None:
    model = tensorrt_form()
    quantized = [node.inputs[0].name for node in model.graph if node.op_type == "QuantizeLinear"]
    assert len(quantized) == len(set(quantized)) == 3


def test_tensorrt_form_computes_nearly_the_same() -> None:
    assert sqnr(run(residual_model()), run(tensorrt_form())) > 25


def between(**ends: tuple[float, float]) -> CalibrationTable:
    """A table with the range from the first to the second end for each named tensor."""
    ranges = {name: TensorRange(low, high, low, high, max(-low, high), "test") for name, (low, high) in ends.items()}
    return CalibrationTable(ranges, "test", 1, True, "", "")


def fused_ops(model: ir.Model, folder: Path) -> list[str]:
    """What ONNX Runtime makes of it."""
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(folder / "fused.onnx")
    options.log_severity_level = 3
    ort.InferenceSession(ir.to_proto(model).SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [node.op_type for node in onnx.load(folder / "fused.onnx").graph.node]


def pooled_model() -> ir.Model:
    """The residual model with a pool behind it, so that its last convolution is not the result."""
    text = residual().replace("[1,16,8,8] out)", "[1,16,1,1] t)").replace("(z, p)", "(z, p) t = GlobalAveragePool(out)")
    return parse(text, {"w": conv_weight(16, 16), "w2": conv_weight(16, 16, seed=1), "p": conv_weight(16, 16, 1)})


def test_cpu_form_runs_in_integer_kernels_and_computes_nearly_the_same(tmp_path: Path) -> None:
    model = pooled_model()
    known = between(x=(-4, 4), r=(0, 3), z=(0, 4), b=(-3, 3), y=(-4, 4), out=(-3, 3), s=(-3, 3))
    insert(model, place_for_cpu(model, scheme=ONNXRUNTIME, keep_float={}, table=known), known)
    assert sqnr(run(pooled_model()), run(model, fuse=True)) > 25
    fused = fused_ops(model, tmp_path)
    assert fused.count("QLinearConv") >= 3 and "QLinearAdd" in fused


def summed_model(tail: str, out: str) -> ir.Model:
    """A residual block, its ReLU, a global average pool and ``tail``."""
    return parse(
        f"""{HEAD_19} g (float[1,16,8,8] x, float[16,16,3,3] w, float[16,16,3,3] w2) => ({out}) {{
            a = Conv <pads = [1,1,1,1]> (x, w)  r = Relu(a)  b = Conv <pads = [1,1,1,1]> (r, w2)
            s = Add(b, r)  q = Relu(s)  t = GlobalAveragePool(q)  {tail}
        }}""",
        {"w": conv_weight(16, 16), "w2": conv_weight(16, 16, seed=1)},
    )


def test_cpu_form_stays_integer_from_the_input_to_the_pooled_features(tmp_path: Path) -> None:
    model = summed_model("out = Flatten(t)", "float[1,16] out")
    known = between(x=(-4, 4), r=(0, 4), b=(-4, 4), s=(-4, 8), q=(0, 8), t=(0, 2))
    exact = run(model)
    placement = place_for_cpu(model, scheme=ONNXRUNTIME, keep_float={}, table=known)
    assert "s" not in {point.tensor for point in placement.activations}  # the sum is quantized once, behind its ReLU
    insert(model, placement, known)
    assert sqnr(exact, run(model, fuse=True)) > 25
    ops = fused_ops(model, tmp_path)
    assert (ops.count("QuantizeLinear"), ops.count("DequantizeLinear")) == (1, 1)
    assert {"QLinearAdd", "QLinearGlobalAveragePool"} <= set(ops)


def test_a_sum_that_only_a_pooled_result_reads_stays_float() -> None:
    known = table(x=4.0, r=4.0, b=4.0, s=8.0, q=8.0, t=2.0)
    placement = place_for_cpu(summed_model("", "float[1,16,1,1] t"), scheme=ONNXRUNTIME, keep_float={}, table=known)
    assert not {"s", "q", "t"} & {point.tensor for point in placement.activations}


def test_cpu_form_never_quantizes_a_graph_output() -> None:
    model = residual_model()
    placement = place_for_cpu(model, scheme=ONNXRUNTIME, keep_float={}, table=RANGES)
    assert "out" not in {point.tensor for point in placement.activations}
    assert "rule 12" in placement.plan.nodes["out"].reason


def test_cpu_form_has_int32_biases_at_the_product_of_scales() -> None:
    model = parse(
        f"{HEAD_19} g (float[1,16,8,8] x, float[16,16,1,1] w, float[16] c) => (float[1,16,8,8] y) {{ a = Conv(x, w, c) y = Relu(a) }}",
        {"w": conv_weight(16, 16, 1), "c": normal(16, scale=1.0)},
    )
    model.graph.outputs.clear()
    extra = ir.node("Identity", [model.graph[1].outputs[0]], name="tail")
    extra.outputs[0].name = "tail"
    model.graph.append(extra)
    model.graph.outputs.append(extra.outputs[0])
    ranges = table(x=4.0, y=4.0, a=4.0)
    insert(model, place_for_cpu(model, scheme=ONNXRUNTIME, keep_float={}, table=ranges), ranges)
    codes, scale = (model.graph.initializers[f"a/bias/{part}"].const_value.numpy() for part in ("int32", "scale"))
    assert codes.dtype == np.int32
    np.testing.assert_allclose(codes * scale, normal(16, scale=1.0), atol=scale.max())


def test_an_fp16_model_gets_fp16_scales() -> None:
    model = parse(
        f"{HEAD_19} g (float16[4,32] x, float16[32,64] w) => (float16[4,64] y) {{ y = MatMul(x, w) }}",
        {"w": normal(32, 64).astype(np.float16)},
    )
    ranges = table(x=4.0)
    insert(model, place(model, scheme=TENSORRT, keep_float={}, table=ranges), ranges)
    scales = [v.dtype for name, v in model.graph.initializers.items() if name.endswith("/scale")]
    assert scales == [ir.DataType.FLOAT16] * 2


def test_one_weight_along_two_axes_is_stored_twice() -> None:
    model = parse(
        f"{HEAD_19} g (float[4,32] x, float[32,32] w) => (float[4,32] y) {{ a = Gemm(x, w) y = Gemm <transB=1> (a, w) }}",
        {"w": normal(32, 32)},
    )
    ranges = table(x=4.0, a=4.0)
    insert(model, place(model, scheme=TENSORRT, keep_float={}, table=ranges), ranges)
    axes = sorted(
        n.attributes["axis"].as_int() for n in model.graph if n.op_type == "DequantizeLinear" and "axis" in n.attributes
    )
    assert axes == [0, 1]
    onnx.checker.check_model(ir.to_proto(model))


def test_an_old_opset_is_refused() -> None:
    model = parse(
        '<ir_version: 8, opset_import: ["" : 13]> g (float[4,32] x, float[32,64] w) => (float[4,64] y) { y = MatMul(x, w) }',
        {"w": normal(32, 64)},
    )
    ranges = table(x=1.0)
    with pytest.raises(BadInput, match="opset 13"):
        insert(model, place(model, scheme=TENSORRT, keep_float={}, table=ranges), ranges)


def test_weights_are_quantized_only_when_read(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(
        "optimizer.quantization.codes.weights.quantize", lambda *args: calls.append(1) or quantize(*args)
    )
    model = tensorrt_form()
    assert not calls
    ir.to_proto(model)
    assert calls


def full_range(weight: np.ndarray) -> np.ndarray:
    return fp16_representable(np.abs(weight).max(axis=1) / CODE_MAX)


@settings(max_examples=50)
@given(st.floats(1e-12, 1e12), st.integers(0, 2**32 - 1))
def test_scales_survive_fp16_and_codes_stay_in_range(magnitude: float, seed: int) -> None:
    weight = (np.random.default_rng(seed).standard_normal((6, 20)) * magnitude).astype(np.float32)
    for scale in (full_range(weight), mse_scales(weight, 0)):
        assert (scale > 0).all() and np.isfinite(scale).all()
        halved = np.ldexp(scale, -np.maximum(np.frexp(scale)[1] - 16, 0))  # as typing does where FP16 overflows
        np.testing.assert_array_equal(halved, halved.astype(np.float16).astype(np.float32))
        assert (127 * 1.04 * scale >= 0.59 * np.abs(weight).max(axis=1)).all(), "no scale is cut off"
        codes = quantize(weight, 0, scale)
        assert codes.dtype == np.int8 and codes.min() >= -127


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_mse_scales_are_never_worse_than_the_full_range(seed: int) -> None:
    rng = np.random.default_rng(seed)
    weight = (rng.standard_t(3, (4, 64)) * 0.1).astype(np.float32)

    def error(scale: np.ndarray) -> float:
        return float(np.square(quantize(weight, 0, scale) * scale[:, None] - weight).sum())

    assert error(mse_scales(weight, 0)) <= error(full_range(weight)) * 1.0001


def test_an_all_zero_channel_keeps_a_valid_scale() -> None:
    weight = np.zeros((2, 8), np.float32)
    weight[1] = 1
    assert (full_range(weight) > 0).all()
    assert not quantize(weight, 0, full_range(weight))[0].any()


def test_small_weights_keep_their_codes() -> None:
    """Scales used to be cut off at FP16's smallest normal number: of weights of 0.0005 eight codes were left."""
    weight = normal(8, 64, scale=2e-4)
    scale = mse_scales(weight, 0)
    np.testing.assert_array_equal(scale, scale.astype(np.float16).astype(np.float32))
    noise = np.square(quantize(weight, 0, scale) * scale[:, None] - weight).sum()
    assert -10 * np.log10(noise / np.square(weight).sum()) > 38


def test_a_channel_whose_bias_has_no_codes_gets_a_larger_scale_and_the_op_stays_integer(tmp_path: Path) -> None:
    weight, bias = conv_weight(16, 16, 3), np.full(16, 0.5, np.float32)
    weight[3], bias[3] = weight[3] * 1e-6, 40.0
    model = parse(
        """<ir_version: 10, opset_import: ["" : 21]>
        g (float[1,16,8,8] x, float[16,16,3,3] w, float[16] b) => (float[1,16,6,6] y) { a = Conv(x, w, b) y = Tanh(a) }""",
        {"w": weight, "b": bias},
    )
    known = between(x=(-1e-3, 1e-3), a=(-50.0, 50.0))
    insert(model, place_for_cpu(model, scheme=ONNXRUNTIME, keep_float={}, table=known), known)
    assert "QLinearConv" in fused_ops(model, tmp_path)
    stored = model.graph.initializers["w/int8"].const_value.numpy()
    assert np.abs(stored[[0, 1, 2]]).max() == 127 and not stored[3].any()


def test_anchored_scales_make_the_anchor_a_code() -> None:
    scale = anchored(fp16_representable(0.0269), 1.29)
    assert abs(1.29 / scale - round(1.29 / float(scale))) < 0.05
    assert anchored(fp16_representable(1.0), 0.01) == 1.0


def test_beside_integer_products_the_cpu_keeps_a_residual_sum_in_float() -> None:
    """A float op makes the tensor: whoever is not integer reads it as it was made."""
    model = parse(
        f"""{HEAD_19} g (float[1,64,32] x, float[32] gain, float[32,32] w, float[32,32] v) => (float[1,64,32] y) {{
            n = LayerNormalization <axis=-1> (x, gain)
            m = MatMul(n, w)
            s = Add(m, n)
            k = MatMul(n, v)
            y = Mul(s, k)
        }}""",
        {"gain": normal(32), "w": normal(32, 32), "v": normal(32, 32, seed=1)},
    )
    placement = place_for_cpu(model, scheme=ONNXRUNTIME, keep_float={}, table=table(n=3.0))
    assert {p.tensor: set(p.uses) for p in placement.activations} == {"n": {Use("m", 0), Use("k", 0)}}


def test_a_weight_may_be_a_constant_node() -> None:
    """A graph that no cleaning pass has seen: the weight is typed, and no Constant is left that nobody reads."""
    text = '<ir_version: 10, opset_import: ["" : 21]> g (float[n, 32] x) => (float[n, 48] y) { y = MatMul (x, w) }'
    weight = normal(32, 48)
    proto = onnx.parser.parse_model(text)
    proto.graph.node.insert(0, onnx.helper.make_node("Constant", [], ["w"], value=onnx.numpy_helper.from_array(weight)))
    model = ir.from_proto(proto)
    for node in model.graph:
        node.name = node.outputs[0].name
    ranges = table(x=3.0, y=3.0)
    insert(model, place(model, scheme=TENSORRT, keep_float={}, table=ranges), ranges)
    kinds = [node.op_type for node in model.graph]
    assert sorted(kinds) == ["DequantizeLinear", "DequantizeLinear", "MatMul", "QuantizeLinear"]
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    x = np.clip(np.random.default_rng(0).standard_normal((8, 32)), -3, 3).astype(np.float32)
    session = ort.InferenceSession(ir.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"])
    assert sqnr(x @ weight, session.run(None, {"x": x})[0]) > 30
