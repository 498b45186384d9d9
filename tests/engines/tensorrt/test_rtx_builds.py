"""Real builds: what TensorRT-RTX makes of small graphs on a machine with no GPU, good ones and bad ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from engines.build import BuildRequest, build_engine
from engines.engine import TensorSpec
from engines.errors import BuildError, BuildFailure
from engines.layers import LayerInfo, count_layers, layers_of_nodes
from engines.manifest import EngineManifest
from engines.profile import ShapeProfile, ShapeRange
from engines.targets.target import TARGETS
from engines.tensorrt.io_names import own_name
from graphs.digests import sha256_file
from graphs.errors import BadInput

pytestmark = pytest.mark.usefixtures("rtx")

INT8_CONV = """
agraph (float[1,16,8,8] x) => (float[1,16,6,6] y)
<float sx = {0.1}, int8 zx = {0}, int8[16,16,3,3] w = {W}, float[16] sw = {S}, int8[16] zw = {Z}> {
    [q_x] xq = QuantizeLinear(x, sx, zx)
    [dq_x] xd = DequantizeLinear(xq, sx, zx)
    [dq_w] wd = DequantizeLinear<axis=0>(w, sw, zw)
    [conv1] y = Conv(xd, wd)
}
""".replace("{W}", "{" + ", ".join(str(i % 9 - 4) for i in range(2304)) + "}")
INT8_CONV = INT8_CONV.replace("{S}", "{" + ", ".join(["0.01"] * 16) + "}")
INT8_CONV = INT8_CONV.replace("{Z}", "{" + ", ".join(["0"] * 16) + "}")

HALF_MATMUL = """
agraph (float[batch,16] x) => (float[batch,16] y)
<float[16,16] w = {W}> {
    [to_half] h = Cast<to=10>(x)
    [w_half] wh = Cast<to=10>(w)
    [fc] m = MatMul(h, wh)
    [to_float] y = Cast<to=1>(m)
}
""".replace("{W}", "{" + ", ".join(str(i % 5 / 10) for i in range(256)) + "}")


def build(
    model: Path, out: Path, target: str = "a100", profile: ShapeProfile | None = None, precision: str = "fp32", **more
) -> EngineManifest:
    request = BuildRequest(model, TARGETS[target], profile or ShapeProfile({}), out, precision, **more)
    return build_engine(request)


def refused(model: Path, out: Path, target: str = "a100", profile: ShapeProfile | None = None, **more) -> BuildError:
    with pytest.raises(BuildError) as caught:
        build(model, out, target, profile, **more)
    assert not out.exists()
    assert "cudaError 35" not in caught.value.what
    return caught.value


def test_conv_and_relu_become_one_layer_on_a100(conv_model: Path, conv_profile: ShapeProfile, tmp_path: Path) -> None:
    manifest = build(conv_model, tmp_path / "a100", "a100", conv_profile)
    assert manifest == EngineManifest.load(tmp_path / "a100")
    assert (manifest.backend, manifest.compute_capability) == ("tensorrt_rtx", (8, 0))
    assert manifest.inputs == (TensorSpec("x", "float32", ("batch", 3, 8, 8)),)
    assert manifest.outputs[0].name == "y"
    assert manifest.outputs[0].shape[1:] == (4, 8, 8)
    plan = tmp_path / "a100" / manifest.file
    assert (manifest.bytes, manifest.file_digest) == (plan.stat().st_size, sha256_file(plan))
    assert manifest.build_log_digest == sha256_file(tmp_path / "a100" / "build.log.gz")
    assert manifest.memory.weights_bytes
    table = layers_of_nodes(manifest.layers)
    assert table["conv1"] == table["relu1"]


def test_float16_matmul_builds_for_t4_and_the_table_says_float16(save_model, tmp_path: Path) -> None:
    profile = ShapeProfile({"x": ShapeRange((1, 16), (2, 16), (4, 16))})
    manifest = build(save_model(HALF_MATMUL), tmp_path / "t4", "t4", profile)
    gemm = _executing(manifest.layers, "fc")
    assert "float16" in gemm.inputs
    assert manifest.compute_capability == (7, 5)


def test_int8_convolution_reads_int8_on_a100(save_model, tmp_path: Path) -> None:
    manifest = build(save_model(INT8_CONV), tmp_path / "a100")
    conv = _executing(manifest.layers, "conv1")
    assert "int8" in conv.inputs
    assert "int8" in conv.constants


def _executing(layers: tuple[LayerInfo, ...], node: str) -> LayerInfo:
    """The layer that holds the node's weights."""
    return next(layer for layer in layers_of_nodes(layers)[node] if layer.constants)


def test_float32_matmul_on_t4_names_the_node_and_float16(
    matmul_model: Path, matmul_profile: ShapeProfile, tmp_path: Path
) -> None:
    error = refused(matmul_model, tmp_path / "t4", "t4", matmul_profile)
    assert error.failure is BuildFailure.UNSUPPORTED_TYPE
    assert error.where == "fc"
    assert "--precision fp16" in error.fix
    for asked in ("fp16", "int8"):  # who asked for it already is told something else
        again = refused(matmul_model, tmp_path / asked, "t4", matmul_profile, precision=asked)
        assert "--precision" not in again.fix
        assert "optimize explain" in again.fix


QDQ = """
agraph (float[1,3,8,8] x) => (float[1,3,8,8] y)
<float s = {0.1}, %s z = {%d}> {
    [q1] q = QuantizeLinear(x, s, z)
    [dq1] y = DequantizeLinear(q, s, z)
}
"""
BIAS_IN_INT32 = """
agraph (float[1,3,8,8] x) => (float[1,3,8,8] y) <int32[1] b = {5}, float s = {0.1}, int32 z = {0}> {
    [dq_bias] d = DequantizeLinear(b, s, z)
    [add1] y = Add(x, d)
}
"""
MIXED = "agraph (float16[1,3] x, float[1,3] z) => (float[1,3] y) { [add1] y = Add(x, z) }"
HALF_CONV = """
agraph (float16[1,1,4,4] x) => (float16[1,1,2,2] y) <float[1,1,3,3] w = {1,1,1,1,1,1,1,1,1}> { [conv1] y = Conv(x, w) }
"""
WRONG_CHANNELS = """
agraph (float[1,5,8,8] x) => (float[1,1,6,6] y) <float[1,1,3,3] w = {1,1,1,1,1,1,1,1,1}> { [conv1] y = Conv(x, w) }
"""
DETERMINANT = "agraph (float[3,3] x) => (float[] y) { [det1] y = Det(x) }"
STRINGS = "agraph (string[1] x) => (string[1] y) { [id1] y = Identity(x) }"
CUSTOM = "agraph (float[1,3] x) => (float[1,3] y) { [my1] y = acme.MyOp(x) }"
FLOAT8 = """
agraph (float[4,16] x) => (float[4,16] y)
<float s = {0.1}, float8e4m3fn z = {0}, float[16,16] w = {W}> {
    [q1] q = QuantizeLinear(x, s, z)
    [dq1] d = DequantizeLinear(q, s, z)
    [q2] wq = QuantizeLinear(w, s, z)
    [dq2] wd = DequantizeLinear(wq, s, z)
    [fc] y = MatMul(d, wd)
}
""".replace("{W}", "{" + ", ".join(str(i % 5 / 10) for i in range(256)) + "}")
POOL_INDICES = """
agraph (float[1,1,4,4] x) => (float[1,1,2,2] y, int64[1,1,2,2] i) {
    [pool1] y, i = MaxPool<kernel_shape=[2,2], strides=[2,2]>(x)
}
"""
DILATED_POOL = """
agraph (float[1,1,6,6] x) => (float[1,1,4,4] y) { [pool1] y = MaxPool<kernel_shape=[2,2], dilations=[2,2]>(x) }
"""
NORM_MEAN = """
agraph (float[2,4] x) => (float[2,4] y, float[2,1] m) <float[4] s = {1,1,1,1}> { [ln1] y, m = LayerNormalization(x, s) }
"""
TRAINING = """
agraph (float[2,3,4] x, float[3] s, float[3] b, float[3] m, float[3] v) => (float[2,3,4] y) {
    [bn1] y, rm, rv = BatchNormalization<training_mode=1>(x, s, b, m, v)
}
"""
SCATTER_ADD = """
agraph (float[4] x, int64[2,1] i, float[2] u) => (float[4] y) { [scatter1] y = ScatterND<reduction="add">(x, i, u) }
"""
SCATTER_MAX = """
agraph (float[2,2] x, int64[1,2] i, float[1,2] u) => (float[2,2] y) {
    [scatter2] y = ScatterElements<reduction="max">(x, i, u)
}
"""
SHORT_INTS = "agraph (int16[1] x) => (int16[1] y) { [id1] y = Identity(x) }"
NMS = """
agraph (float[1,8,4] boxes, float[1,2,8] scores) => (int64[n,3] kept) <int64 most = {3}> {
    [nms1] kept = NonMaxSuppression(boxes, scores, most)
}
"""
OPSET_18 = '<ir_version: 8, opset_import: ["" : 18]>\n'
OPSET_19 = '<ir_version: 9, opset_import: ["" : 19]>\n'
ACME = '<ir_version: 9, opset_import: ["" : 17, "acme" : 1]>\n'


@pytest.mark.parametrize(
    ("text", "header", "failure", "where", "words"),
    [
        (DETERMINANT, None, BuildFailure.UNSUPPORTED_OP, "det1", "operator Det"),
        (CUSTOM, ACME, BuildFailure.UNSUPPORTED_OP, "my1", "MyOp"),
        (MIXED, None, BuildFailure.UNSUPPORTED_TYPE, "add1", "Half and Float"),
        (HALF_CONV, None, BuildFailure.UNSUPPORTED_TYPE, "conv1", "Half and Float"),
        (QDQ % ("int8", 3), None, BuildFailure.UNSUPPORTED_TYPE, "q1", "non-zero zero point"),
        (QDQ % ("uint8", 128), None, BuildFailure.UNSUPPORTED_TYPE, "q1", "non-zero zero point"),
        (QDQ % ("uint8", 0), None, BuildFailure.UNSUPPORTED_TYPE, "q1", "uint8"),
        (BIAS_IN_INT32, None, BuildFailure.UNSUPPORTED_TYPE, "dq_bias", "int32"),
        (WRONG_CHANNELS, None, BuildFailure.SHAPE, "conv1", "channels"),
        (STRINGS, None, BuildFailure.UNSUPPORTED_TYPE, "x", "string"),
        (POOL_INDICES, None, BuildFailure.UNSUPPORTED_OP, "pool1", "MaxPool, and the model uses its output Indices"),
        (NORM_MEAN, None, BuildFailure.UNSUPPORTED_OP, "ln1", "its output Mean"),
        (DILATED_POOL, None, BuildFailure.UNSUPPORTED_OP, "pool1", "does not support dilations other than 1"),
        (TRAINING, None, BuildFailure.UNSUPPORTED_OP, "bn1", "training mode"),
        (SCATTER_ADD, None, BuildFailure.UNSUPPORTED_OP, "scatter1", "ScatterND with reduction is not supported"),
        (SCATTER_MAX, OPSET_18, BuildFailure.UNSUPPORTED_OP, "scatter2", "ScatterElements as it is used here: Unsupp"),
        (SHORT_INTS, None, BuildFailure.UNSUPPORTED_TYPE, "x", "int16"),
        (NMS, None, BuildFailure.UNSUPPORTED_OP, "nms1", "no kernel for NonMaxSuppression"),
        (FLOAT8, OPSET_19, BuildFailure.UNSUPPORTED_TYPE, "", "sm80 has no fp8_e4m3"),
    ],
)
def test_what_a_target_cannot_take_is_named(
    save_model, tmp_path: Path, text: str, header: str | None, failure: BuildFailure, where: str, words: str
) -> None:
    model = save_model(text, header=header) if header else save_model(text)
    error = refused(model, tmp_path / "a100")
    assert (error.failure, error.where) == (failure, where)
    assert words in error.what
    assert error.fix or error.expected


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("agraph (float[1,4] x, int64[2] n) => (float[a,b] y) { [expand1] y = Expand(x, n) }", "n"),
        ("agraph (float a, float b, float c) => (float[M] y) { [range1] y = Range(a, b, c) }", "range1"),
    ],
)
def test_an_input_whose_values_are_sizes_is_named(save_model, tmp_path: Path, text: str, where: str) -> None:
    error = refused(save_model(text), tmp_path / "a100")
    assert (error.failure, error.where) == (BuildFailure.SHAPE, where)
    assert "constant" in error.fix


def test_dynamic_input_without_shapes_is_named(conv_model: Path, tmp_path: Path) -> None:
    error = refused(conv_model, tmp_path / "a100")
    assert (error.failure, error.where) == (BuildFailure.SHAPE, "x")
    assert "--shape x=MIN:OPT:MAX" in error.fix


def test_shapes_that_do_not_fit_are_named(conv_model: Path, tmp_path: Path) -> None:
    wrong = ShapeProfile({"x": ShapeRange((1, 5, 8, 8), (1, 5, 8, 8), (1, 5, 8, 8))})
    error = refused(conv_model, tmp_path / "a100", profile=wrong)
    assert error.failure is BuildFailure.SHAPE
    assert "axis 1" in error.what
    assert "'x'" in error.what


@pytest.mark.parametrize(("content", "words"), [(b"", "no layers"), (b"garbage", "not an ONNX model")])
def test_what_is_no_model_builds_no_engine(tmp_path: Path, content: bytes, words: str) -> None:
    model = tmp_path / "model.onnx"
    model.write_bytes(content)
    assert words in refused(model, tmp_path / "a100").what


def test_options_that_need_a_gpu_say_so(matmul_model: Path, matmul_profile: ShapeProfile, tmp_path: Path) -> None:
    error = refused(matmul_model, tmp_path / "a", "a100", matmul_profile, options={"strip_plan": "on"})
    assert "without a GPU" in error.what
    error = refused(matmul_model, tmp_path / "b", "a100", matmul_profile, options={"version_compatible": "on"})
    assert error.failure is BuildFailure.MISSING_LIBRARY


def test_options_that_exclude_each_other_say_why(conv_model: Path, conv_profile: ShapeProfile, tmp_path: Path) -> None:
    options = {"distributive_independence": "on"}
    error = refused(conv_model, tmp_path / "a", "a100", conv_profile, more_profiles=(conv_profile,), options=options)
    assert error.what.startswith("Distributive independence is not supported when multiple optimization profiles")


@pytest.mark.parametrize("options", [{"no_such": "1"}, {"optimization_level": "9"}, {"tf32": "maybe"}])
def test_wrong_options_are_bad_input(
    matmul_model: Path, matmul_profile: ShapeProfile, tmp_path: Path, options: dict[str, str]
) -> None:
    with pytest.raises(BadInput, match=next(iter(options))) as caught:
        build(matmul_model, tmp_path / "a100", "a100", matmul_profile, options=options)
    assert caught.value.expected


def test_sparsity_on_rtx_is_said_not_to_be_used(conv_model: Path, conv_profile: ShapeProfile, tmp_path: Path) -> None:
    a100 = build(conv_model, tmp_path / "a100", "a100", conv_profile, sparse_weights=True)
    assert any("not used by TensorRT-RTX" in note for note in a100.notes)


def test_h100_without_a_gpu_names_the_command_to_run_there(
    conv_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engines.tensorrt.builder.plan_build.native_target", lambda: None)
    error = refused(conv_model, tmp_path / "h100", "h100")
    assert error.failure is BuildFailure.MISSING_LIBRARY
    assert "--target h100" in error.what


def test_external_data_is_found_and_part_of_the_cache_key(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    weight = numpy_helper.from_array(np.ones((4, 4), np.float32), "w")
    value = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 4])
    result = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 4])
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"], "fc")], "g", [value], [result], [weight])
    proto = helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 17)])
    model = tmp_path / "source" / "model.onnx"
    onnx.save_model(proto, model, save_as_external_data=True, location="w.bin", size_threshold=0)
    first = build(model, tmp_path / "first")
    (tmp_path / "source" / "w.bin").write_bytes(np.full((4, 4), 2, np.float32).tobytes())
    second = build(model, tmp_path / "second")
    assert second.file_digest != first.file_digest
    assert _executing(second.layers, "fc").constants[0] == "float32"


DOUBLES = "agraph (double[1,3] x) => (double[1,3] y) { [relu1] y = Relu(x) }"
OPSET_25 = '<ir_version: 10, opset_import: ["" : 25]>\n'
RELU = "agraph (float[1,3] x) => (float[1,3] y) { [relu1] y = Relu(x) }"
WRONG_AXIS = INT8_CONV.replace("axis=0", "axis=1")
SIXTEEN_SCALES = "float[16] sa = {" + ", ".join(["0.1"] * 16) + "}, int8[16] za = {" + ", ".join(["0"] * 16) + "}"
PER_CHANNEL_INPUT = (
    INT8_CONV.replace("float sx = {0.1}, int8 zx = {0}", SIXTEEN_SCALES)
    .replace("QuantizeLinear(x, sx, zx)", "QuantizeLinear<axis=1>(x, sa, za)")
    .replace("DequantizeLinear(xq, sx, zx)", "DequantizeLinear<axis=1>(xq, sa, za)")
)


@pytest.mark.parametrize(("text", "header"), [(DOUBLES, None), (RELU, OPSET_25)])
def test_what_tensorrt_takes_is_built(save_model, tmp_path: Path, text: str, header: str | None) -> None:
    model = save_model(text, header=header) if header else save_model(text)
    assert build(model, tmp_path / "a100").bytes > 0


def test_doubles_are_said_to_become_floats(save_model, tmp_path: Path) -> None:
    manifest = build(save_model(DOUBLES), tmp_path / "a100")
    assert any("'x' is float64 in the model and float32 in the plan" in text for text in manifest.ignored)


@pytest.mark.parametrize("text", [WRONG_AXIS, PER_CHANNEL_INPUT])
def test_quantization_that_does_not_fuse_is_flagged(save_model, tmp_path: Path, text: str) -> None:
    """TensorRT builds a wrong axis without a word; the table shows Q/DQ kernels that the right form has not."""
    right = build(save_model(INT8_CONV), tmp_path / "right")
    wrong = build(save_model(text, "wrong.onnx"), tmp_path / "wrong")
    assert count_layers(wrong.layers).unfused > count_layers(right.layers).unfused
    assert count_layers(wrong.layers).int8 == 0 < count_layers(right.layers).int8
    assert any("only quantize or dequantize" in note for note in wrong.notes)


def test_an_input_that_is_an_output_too_keeps_its_name(tmp_path: Path) -> None:
    text = (
        """<ir_version: 8, opset_import: ["" : 17]> g (float[N,4] x) => (float[N,4] y, float[N,4] x) { y = Relu(x) }"""
    )
    onnx.save(onnx.parser.parse_model(text), tmp_path / "m.onnx")
    profile = ShapeProfile({"x": ShapeRange((1, 4), (4, 4), (8, 4))})
    manifest = build(tmp_path / "m.onnx", tmp_path / "a100", profile=profile)
    assert [spec.name for spec in manifest.inputs] == ["x"]
    assert {spec.name for spec in manifest.outputs} == {"x", "y"}


def test_a_name_of_the_parsers_is_told_from_the_graphs() -> None:
    assert own_name("__x", {"x", "y"}) == "x"
    assert own_name("__x", {"y"}) == "__x"
    assert own_name("x", {"x"}) == "x"
