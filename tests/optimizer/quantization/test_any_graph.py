"""Graphs that once ended in an error or in other numbers: each is quantized in both forms, by all corrections."""
# ruff: noqa: E501 (models as text)

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest

from calibration.table import CalibrationTable, TensorRange
from optimizer.passes.half_precision import HalfPrecision
from optimizer.quantization.biases import keep_biases_apart
from optimizer.quantization.calibrating import Calibrator
from optimizer.quantization.corrections.fallback import Allowance
from optimizer.quantization.corrections.sensitivity import measure, relative_noise
from optimizer.quantization.cpu_placement import place_for_cpu
from optimizer.quantization.qdq import insert
from optimizer.quantization.quantize import QuantizedModel, quantize
from optimizer.quantization.scheme import ONNXRUNTIME, TENSORRT, Scheme, for_this_cpu
from optimizer.quantization.settings import QuantizeSettings
from tests.optimizer.quantization.models import conv_weight, normal, parse

HEAD = '<ir_version: 10, opset_import: ["" : 21]>'
HEAD23 = '<ir_version: 10, opset_import: ["" : 23]>'
RNG = np.random.default_rng(11)
Model = Callable[[], ir.Model]


def spread(count: int) -> np.ndarray:
    """Channel widths over three orders of magnitude."""
    return np.geomspace(0.03, 30, count).astype(np.float32)[RNG.permutation(count)]


def average_pool() -> ir.Model:
    """Inception: a 1x1 convolution and an average pool read one tensor, both feed a Concat that is read in int8."""
    return parse(
        f"""{HEAD} g (float[4,16,8,8] x, float[16,16,1,1] a, float[16,16,1,1] b, float[16,32,1,1] c) => (float[4,16,8,8] y) {{
            r = Relu(x)
            left = Conv(r, a)
            pool = AveragePool <kernel_shape=[3,3], pads=[1,1,1,1]> (r)
            right = Conv(pool, b)
            both = Concat <axis=1> (left, right)
            y = Conv(both, c)
        }}""",
        {"a": conv_weight(16, 16, 1), "b": conv_weight(16, 16, 1, seed=1), "c": conv_weight(16, 32, 1, seed=2)},
    )


def shared_weight() -> ir.Model:
    return parse(
        f"""{HEAD} g (float[4,16,8,8] x, float[16,16,3,3] w) => (float[4,16,4,4] y) {{
            a = Conv(x, w)
            r = Relu(a)
            y = Conv(r, w)
        }}""",
        {"w": conv_weight(16, 16)},
    )


def shared_along_two_axes() -> ir.Model:
    return parse(
        f"""{HEAD} g (float[64,32] x, float[32,32] w) => (float[64,32] y, float[32,32] w2) {{
            a = Gemm(x, w)
            r = Relu(a)
            b = Gemm <transB=1> (r, w)
            s = Tanh(b)
            y = MatMul(s, w)
            w2 = Mul(w, w)
        }}""",
        {"w": normal(32, 32) * spread(32)},
    )


def relu_between(shifted: str = "Relu(a)") -> Model:
    """Channels of very different width behind a ReLU: they are scaled, and shifted by one number after that."""

    def build() -> ir.Model:
        wide = spread(32)
        return parse(
            f"""{HEAD} g (float[8,24,6,6] x, float[32,24,1,1] w, float[32] b, float zero, float six, float[16,32,1,1] v) => (float[8,16,6,6] y) {{
                a = Conv(x, w, b)
                r = {shifted}
                y = Conv(r, v)
            }}""",
            {
                "w": conv_weight(32, 24, 1) * wide.reshape(-1, 1, 1, 1),
                "b": normal(32) * wide,
                "zero": np.array(0, np.float32),
                "six": np.array(6, np.float32),
                "v": conv_weight(16, 32, 1, seed=1) / wide.reshape(1, -1, 1, 1),
            },
        )

    return build


def taken_names() -> ir.Model:
    """Names that quantization would like to give are there already: of weights, tensors, nodes, inside a branch."""
    model = parse(
        f"""{HEAD} g (float[4,16,8,8] x, float[16,16,3,3] w, float[16] x__scale, float[16,16,3,3] w__scale) => (float[4,16,4,4] y) {{
            x__int8 = Mul(x, x)
            x__dequantized = Sqrt(x__int8)
            w__dequantized = Conv(x__dequantized, w, x__scale)
            w__int8 = Relu(w__dequantized)
            x__Q = Conv(w__int8, w__scale)
            peak = ReduceMax <keepdims=0> (x)
            flag = Cast <to=9> (peak)
            y = If (flag) <
                then_branch = yes () => (float[4,16,4,4] w__zero) {{ w__zero = Identity(x__Q) }},
                else_branch = no () => (float[4,16,4,4] w__DQ) {{ w__DQ = Neg(x__Q) }}
            >
        }}""",
        {"w": conv_weight(16, 16), "w__scale": conv_weight(16, 16, seed=1), "x__scale": normal(16)},
    )
    for graph in model.graphs():
        for value in (*graph.initializers.values(), *(v for n in graph for v in n.outputs)):
            value.name = str(value.name).replace("__", "/")
        for node in graph:
            node.name = str(node.name).replace("__", "/")
    return model


def channels_elsewhere() -> ir.Model:
    """A MatMul contracts the width of a convolution's output: as long as its channels, and another axis."""
    return parse(
        f"""{HEAD} g (float[4,3,16,18] x, float[16,3,3,3] w, float[16,24] v) => (float[4,16,14,24] y) {{
            a = Conv(x, w)
            r = Relu(a)
            y = MatMul(r, v)
        }}""",
        {"w": conv_weight(16, 3) * spread(16).reshape(-1, 1, 1, 1), "v": normal(16, 24)},
    )


def norm_before_convolution() -> ir.Model:
    """A LayerNormalization over the length, read by a convolution along it: gains are not its channels."""
    return parse(
        f"""{HEAD} g (float[8,16,16] x, float[16] g, float[16] b, float[24,16,3] w) => (float[8,24,14] y) {{
            n = LayerNormalization <axis=-1> (x, g, b)
            c = Conv(n, w)
            y = Tanh(c)
        }}""",
        {"g": np.sqrt(spread(16)), "b": normal(16), "w": normal(24, 16, 3)},
    )


def computed_bias() -> ir.Model:
    """Branches of unlike range before a Concat, one from a convolution whose bias is computed."""
    return parse(
        f"""{HEAD} g (float[4,16,8,8] x, float[16,16,1,1] u, float[16,32,3,3] w) => (float[4,16,6,6] y) {{
            mean = ReduceMean <keepdims=0> (x)
            many = Expand(mean, n)
            up = Conv(x, u, many)
            skip = Tanh(x)
            c = Concat <axis=1> (up, skip)
            y = Conv(c, w)
        }}""".replace("float[16,32,3,3] w)", "float[16,32,3,3] w, int64[1] n)"),
        {"u": conv_weight(16, 16, 1) * 500, "w": conv_weight(16, 32), "n": np.array([16], np.int64)},
    )


def scaled_gemm() -> ir.Model:
    return parse(
        f"""{HEAD} g (float[64,32] x, float[32,48] w, float[48] b, float[48,32] v) => (float[64,32] y) {{
            a = Gemm <alpha=0.5, beta=3.0> (x, w, b)
            r = Relu(a)
            y = Gemm <alpha=2.0> (r, v)
        }}""",
        {"w": normal(32, 48) * spread(48), "b": normal(48, scale=1.0), "v": normal(48, 32)},
    )


def stack_of_matrices() -> ir.Model:
    return parse(
        f"""{HEAD} g (float[16,4,8,16] x, float[4,16,32] w) => (float[16,4,8,32] y) {{
            m = MatMul(x, w)
            y = Softmax <axis=-1> (m)
        }}""",
        {"w": normal(4, 16, 32)},
    )


def newest_opset() -> ir.Model:
    return parse(
        f"""{HEAD23} g (float[4,16,8,8] x, float[16,16,3,3] w, float[16,16,3,3] v) => (float[4,16,4,4] y) {{
            a = Conv(x, w)
            r = Relu(a)
            y = Conv(r, v)
        }}""",
        {"w": conv_weight(16, 16), "v": conv_weight(16, 16, seed=1)},
    )


def dead_channels() -> ir.Model:
    """Output channels without weights, but with a bias; inputs that are always zero; a tensor that always is."""
    w, v = conv_weight(16, 16), conv_weight(16, 16, seed=1)
    w[::2] = 0
    return parse(
        f"""{HEAD} g (float[4,16,8,8] x, float[16,16,3,3] w, float[16] b, float[16,16,3,3] v, float nothing) => (float[4,16,4,4] y) {{
            a = Conv(x, w, b)
            r = Relu(a)
            z = Mul(r, nothing)
            k = Conv(z, v)
            l = Conv(r, v)
            y = Add(k, l)
        }}""",
        {"w": w, "b": normal(16, scale=3.0), "v": v, "nothing": np.array(0, np.float32)},
    )


def weight_in_company() -> ir.Model:
    """One weight is a graph output, is read in a branch, and by a product and a sum of the main graph."""
    return parse(
        f"""{HEAD} g (float[32,32] x, float[32,32] w, float[32,32] v) => (float[32,32] y, float[32,32] w) {{
            a = MatMul(x, w)
            peak = ReduceMax <keepdims=0> (x)
            flag = Cast <to=9> (peak)
            b = If (flag) <
                then_branch = yes () => (float[32,32] p) {{ p = MatMul(a, w) }},
                else_branch = no () => (float[32,32] q) {{ q = Add(a, w) }}
            >
            s = Add(b, w)
            t = Tanh(s)
            y = MatMul(t, v)
        }}""",
        {"w": normal(32, 32), "v": normal(32, 32, seed=1)},
    )


def pixels() -> ir.Model:
    """An image in uint8 that the graph makes float, one pixel high in the end."""
    return parse(
        f"""{HEAD} g (uint8[2,3,16,16] x, float scale, float[16,3,3,3] w, float[16] b, float[32,16,14,14] v, int64[2] shape, float[32,24] u) => (float[2,24] y) {{
            f = Cast <to=1> (x)
            s = Mul(f, scale)
            a = Conv(s, w, b)
            r = Relu(a)
            p = Conv(r, v)
            l = Reshape(p, shape)
            y = Gemm(l, u)
        }}""",
        {
            "scale": np.array(1 / 255, np.float32),
            "w": conv_weight(16, 3),
            "b": normal(16),
            "v": normal(32, 16, 14, 14, scale=0.02),
            "shape": np.array([2, 32], np.int64),
            "u": normal(32, 24),
        },
    )


MODELS: dict[str, Model] = {
    found.__name__: found
    for found in (
        taken_names,
        weight_in_company,
        pixels,
        average_pool,
        shared_weight,
        shared_along_two_axes,
        channels_elsewhere,
        norm_before_convolution,
        computed_bias,
        scaled_gemm,
        stack_of_matrices,
        newest_opset,
        dead_channels,
    )
} | {"relu": relu_between(), "clip": relu_between("Clip(a, zero, six)"), "lower": relu_between("Clip(a, zero)")}


def feeds_for(model: ir.Model, count: int = 12) -> list[dict[str, np.ndarray]]:
    return [{str(v.name): some(v, 100 + n) for v in model.graph.inputs} for n in range(count)]


def some(value: ir.Value, seed: int) -> np.ndarray:
    assert value.shape is not None
    if value.dtype is ir.DataType.UINT8:
        return np.random.default_rng(seed).integers(0, 256, value.shape.numpy(), np.uint8)
    return normal(*value.shape.numpy(), seed=seed, scale=1.0)


def answers(model: ir.Model, feeds: list[dict[str, np.ndarray]], *, fused: bool) -> list[dict[str, np.ndarray]]:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    if not fused:
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    session = ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return [dict(zip(names, session.run(None, feed), strict=True)) for feed in feeds]


def sqnr_db(reference: list[dict[str, np.ndarray]], found: list[dict[str, np.ndarray]]) -> float:
    return float(-10 * np.log10(max(relative_noise(reference, found), 1e-12)))


def quantized(model: ir.Model, scheme: Scheme, feeds: list[dict[str, np.ndarray]]) -> QuantizedModel:
    calibrator = Calibrator(lambda: feeds, batchable=False, methods=("mse", "minmax"))
    costs = {str(node.name): 1000 for node in model.graph if node.op_type in ("Conv", "Gemm", "MatMul")}
    return quantize(
        model,
        calibrator,
        QuantizeSettings(scheme=scheme, costs=costs, allowance=Allowance(0.0 if len(costs) < 3 else 0.3)),
    )


@pytest.mark.parametrize("scheme", (TENSORRT, for_this_cpu()), ids=lambda scheme: scheme.name)
@pytest.mark.parametrize("name", MODELS)
def test_it_is_quantized_and_right_in_every_runtime(name: str, scheme: Scheme) -> None:
    model = MODELS[name]()
    feeds = feeds_for(model)
    reference = answers(model, feeds[:4], fused=False)
    done = quantized(model, scheme, feeds)
    assert done.placement.quantizes
    assert not [note for note in done.notes if "undone" in note]
    simulated = answers(done.model, feeds[:4], fused=False)
    assert sqnr_db(reference, simulated) > 25
    fused = answers(done.model, feeds[:4], fused=True)
    assert sqnr_db(reference, fused) > sqnr_db(reference, simulated) - 1


def test_a_power_that_depends_on_how_many_boxes_there_are() -> None:
    """A sample whose shape changed is wholly wrong, one without boxes says nothing, widths may differ."""
    boxes = [np.ones((1, rows, 4), np.float32) for rows in (3, 0, 2)]
    wanted = [{"boxes": array} for array in boxes]
    assert relative_noise(wanted, wanted) == 0
    fewer = [{"boxes": boxes[0][:, :2]}, *wanted[1:]]
    assert relative_noise(wanted, fewer) == pytest.approx(12 / 20)
    wide = [{"y": np.ones((2, width), np.float32)} for width in (5, 9)]
    assert relative_noise(wide, [{"y": 1.1 * answer["y"]} for answer in wide]) == pytest.approx(0.01, rel=1e-3)


def test_values_that_are_not_finite_count_only_where_the_reference_is() -> None:
    wanted = [{"y": np.array([[1.0, -np.inf, np.nan, 2.0]], np.float32)}]
    same = [{"y": np.array([[1.0, -np.inf, 5.0, 2.0]], np.float32)}]
    broken = [{"y": np.array([[1.0, -np.inf, 5.0, np.nan]], np.float32)}]
    assert relative_noise(wanted, same) == 0
    assert np.isfinite(found := relative_noise(wanted, broken)) and found > 1e3


def biased(kind: str) -> ir.Model:
    """A result with a large bias that is quantized again, in the three ops that have one."""
    first = {
        "Conv": "a = Conv <pads=[1,1,1,1]> (x, w, b)",
        "Relu": "c = Conv <pads=[1,1,1,1]> (x, w, b) a = Relu(c)",
        "Gemm": "f = Flatten <axis=2> (x) a = Gemm <transB=1> (f, w, b)",
    }[kind]
    gemm = kind == "Gemm"
    return parse(
        f"""{HEAD} g (float{"[64,64]" if gemm else "[2,64,8,8]"} x, float{"[64,64]" if gemm else "[64,64,3,3]"} w, float[64] b, float{"[64,32]" if gemm else "[32,64,1,1]"} v) => (float y) {{
            {first.replace("f = Flatten <axis=2> (x) ", "").replace("(f,", "(x,")}
            z = {"MatMul" if gemm else "Conv"}(a, v)
            y = Tanh(z)
        }}""".replace("float y", "float[64,32] y" if gemm else "float[2,32,8,8] y"),
        {
            "w": normal(64, 64) if gemm else conv_weight(64, 64),
            "b": normal(64, scale=20.0),
            "v": normal(64, 32, scale=0.01) if gemm else conv_weight(32, 64, 1) / 10,
        },
    )


@pytest.mark.parametrize("half", [True, False], ids=["float16", "float32"])
@pytest.mark.parametrize("kind", ["Conv", "Relu", "Gemm"])
def test_large_biases_survive_in_plain_onnxruntime(kind: str, half: bool) -> None:
    model = biased(kind)
    feeds = feeds_for(model)
    reference = answers(model, feeds[:4], fused=False)
    done = quantized(model, TENSORRT, feeds).model
    if half:
        HalfPrecision().apply(done)
    before = sqnr_db(reference, answers(done, feeds[:4], fused=False))
    assert keep_biases_apart(done) == half, "float16 has no codes for these biases, int32 has"
    assert sqnr_db(reference, answers(done, feeds[:4], fused=False)) == pytest.approx(before, abs=0.1)
    assert sqnr_db(reference, answers(done, feeds[:4], fused=True)) > before - 1


@pytest.mark.parametrize("kind", ["Conv", "Relu", "Gemm"])
def test_a_bias_beyond_int32_survives_in_the_cpu_form(kind: str) -> None:
    """Data of 1e-6 and a bias of 20: its codes at the product's scale wrap around in ONNX Runtime."""
    model = biased(kind)
    feeds = [{name: array * np.float32(1e-6) for name, array in feed.items()} for feed in feeds_for(model)]
    reference = answers(model, feeds[:4], fused=False)
    done = quantized(model, ONNXRUNTIME, feeds).model
    assert sqnr_db(reference, answers(done, feeds[:4], fused=True)) > 30


def test_an_op_of_the_cpu_form_is_measured_as_it_is_quantized() -> None:
    """With switches, one op in uint8 and the others in float: the noise of quantizing that op alone."""
    model = MODELS["shared_along_two_axes"]()
    feeds = feeds_for(model, 2)
    placement = place_for_cpu(model, scheme=ONNXRUNTIME, keep_float={"b": "", "y": ""})
    ranges = {
        name: TensorRange(float(found.min()), float(found.max()), float(found.min()), float(found.max()), 9.0, "seen")
        for name, found in {"x": np.concatenate([feed["x"] for feed in feeds])}.items()
    }
    known = CalibrationTable(ranges, "test", 1, True, "", "")
    (found,) = measure(model, placement, known, feeds, among={"a"})
    alone = model.clone()
    insert(alone, placement, known)
    wanted = relative_noise(answers(model, feeds, fused=False), answers(alone, feeds, fused=False))
    assert found.node == "a" and found.noise == pytest.approx(wanted, rel=0.05)
