"""What belongs to one kernel and what it must move, on textual ONNX whose bytes can be counted by hand."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest

from benchmarks.roofline.fusion import kernels
from benchmarks.roofline.kernels import Kernel

IMAGE = 8 * 16 * 16  # elements of an activation in the convolutional graphs


def read(text: str, weights: Mapping[str, tuple[int, ...]], dtype: type = np.float32) -> ir.Model:
    model = onnx.parser.parse_model(text)
    for name, shape in weights.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(shape, dtype), name))
    return ir.from_proto(model)


def by_name(found: list[Kernel]) -> dict[str, Kernel]:
    return {kernel.name: kernel for kernel in found}


def test_elementwise_operators_behind_a_convolution_move_nothing_of_their_own() -> None:
    weights = {"w": (8, 8, 3, 3), "b": (8,), "s": (8,), "t": (8,), "m": (8,), "v": (8,)}
    bare = """<ir_version: 9, opset_import: ["": 17]>
    g (float[N, 8, 16, 16] x) => (float[N, 8, 16, 16] y) { [c] y = Conv <pads = [1, 1, 1, 1]> (x, w, b) }"""
    dressed = """<ir_version: 9, opset_import: ["": 17]>
    g (float[N, 8, 16, 16] x) => (float[N, 8, 16, 16] y) {
      [c] c = Conv <pads = [1, 1, 1, 1]> (x, w, b)
      [bn] n = BatchNormalization (c, s, t, m, v)
      [r] y = Relu (n)
    }"""
    shapes = {"x": (1, 8, 16, 16)}
    (first,) = kernels(read(bare, weights), shapes)
    (second,) = kernels(read(dressed, weights), shapes)
    assert first.activation_bytes == second.activation_bytes == 2 * IMAGE * 4
    assert second.nodes == ("c", "bn", "r") and second.kind == "conv"
    assert second.macs == IMAGE * 8 * 9


def test_a_residual_addition_is_read_once_and_joins_the_convolution_that_made_its_operand() -> None:
    text = """<ir_version: 9, opset_import: ["": 17]>
    g (float[N, 8, 16, 16] x) => (float[N, 8, 16, 16] y) {
      [first] a = Conv <pads = [1, 1, 1, 1]> (x, w1)
      [second] b = Conv <pads = [1, 1, 1, 1]> (a, w2)
      [add] s = Add (b, a)
      [relu] y = Relu (s)
    }"""
    found = by_name(kernels(read(text, {"w1": (8, 8, 3, 3), "w2": (8, 8, 3, 3)}), {"x": (1, 8, 16, 16)}))
    assert found["second"].nodes == ("second", "add", "relu")
    assert found["first"].activation_bytes == 2 * IMAGE * 4
    assert found["second"].activation_bytes == 2 * IMAGE * 4, "a is read once, for the product and the sum"


QUANTIZED = """<ir_version: 9, opset_import: ["": 19]>
g (float[N, 8, 16, 16] x) => (float[N, 8, 16, 16] y)
<float scale = {0.1}, int8 zero = {0}> {
  [q] xq = QuantizeLinear (x, scale, zero)
  [dq] xd = DequantizeLinear (xq, scale, zero)
  [wq] w1q = QuantizeLinear (w1, scale, zero)
  [wdq] w1d = DequantizeLinear (w1q, scale, zero)
  [conv1] c1 = Conv <pads = [1, 1, 1, 1]> (xd, w1d)
  [relu] r = Relu (c1)
  [q2] rq = QuantizeLinear (r, scale, zero)
  [dq2] rd = DequantizeLinear (rq, scale, zero)
  [w2q] w2i = QuantizeLinear (w2, scale, zero)
  [w2dq] w2d = DequantizeLinear (w2i, scale, zero)
  [conv2] y = Conv <pads = [1, 1, 1, 1]> (rd, w2d)
}"""


def test_bytes_follow_the_types_and_qdq_is_free() -> None:
    weights = {"w1": (8, 8, 3, 3), "w2": (8, 8, 3, 3)}
    found = kernels(read(QUANTIZED, weights), {"x": (1, 8, 16, 16)})
    entry, first, second = found
    assert [kernel.name for kernel in found] == ["q", "conv1", "conv2"]
    assert entry.kind == "memory" and entry.activation_bytes == IMAGE * (4 + 1)
    assert first.dtype == second.dtype == "int8"
    assert first.activation_bytes == IMAGE * (1 + 1), "reads int8 and writes int8: ReLU and Q are its epilogue"
    assert second.activation_bytes == IMAGE * (1 + 4), "nobody quantizes the output"
    assert first.weight_bytes - 4 - 1 == 8 * 8 * 9, "one byte per weight, beside the scale and zero point of the Q"


def test_fp16_moves_half_of_fp32() -> None:
    text = """<ir_version: 9, opset_import: ["": 17]>
    g (float16[N, 64] x) => (float16[N, 32] y) { [m] y = MatMul (x, w) }"""
    (half,) = kernels(read(text, {"w": (64, 32)}, np.float16), {"x": (1, 64)})
    (full,) = kernels(read(text.replace("float16", "float"), {"w": (64, 32)}), {"x": (1, 64)})
    assert (half.dtype, full.dtype) == ("fp16", "fp32")
    assert full.activation_bytes == 2 * half.activation_bytes == (64 + 32) * 4
    assert full.weight_bytes == 2 * half.weight_bytes == 64 * 32 * 4


ATTENTION = """<ir_version: 9, opset_import: ["": 17]>
g (float16[N, 4, 32, 16] q, float16[N, 4, 16, 32] k, float16[N, 4, 32, 16] v) => (float16[N, 4, 32, 16] y) {
  [qk] a = MatMul (q, k)
  [scaled] b = Mul (a, scale)
  [soft] c = Softmax <axis = -1> (b)
  [av] y = MatMul (c, v)
}"""
ATTENTION_SHAPES = {"q": (1, 4, 32, 16), "k": (1, 4, 16, 32), "v": (1, 4, 32, 16)}


def test_attention_in_fp16_is_one_kernel_and_its_scores_stay_inside() -> None:
    (kernel,) = kernels(read(ATTENTION, {"scale": ()}, np.float16), ATTENTION_SHAPES)
    assert kernel.kind == "attention" and kernel.nodes == ("qk", "scaled", "soft", "av")
    assert kernel.activation_bytes == 4 * (4 * 32 * 16 * 2)
    assert [product.groups for product in kernel.products] == [4, 4]


def test_attention_in_fp32_writes_its_scores() -> None:
    found = kernels(read(ATTENTION.replace("float16", "float"), {"scale": ()}), ATTENTION_SHAPES)
    assert [kernel.kind for kernel in found] == ["attention", "memory", "attention"]


def test_concatenation_moves_nothing_and_its_reader_reads_all_parts() -> None:
    text = """<ir_version: 9, opset_import: ["": 17]>
    g (float[N, 8, 16, 16] x) => (float[N, 8, 16, 16] y) {
      [left] a = Conv (x, w1)
      [right] b = Conv (x, w2)
      [join] c = Concat <axis = 1> (a, b)
      [last] y = Conv (c, w3)
    }"""
    weights = {"w1": (8, 8, 1, 1), "w2": (8, 8, 1, 1), "w3": (8, 16, 1, 1)}
    found = by_name(kernels(read(text, weights), {"x": (1, 8, 16, 16)}))
    assert list(found) == ["left", "right", "last"]
    assert found["left"].activation_bytes == 2 * IMAGE * 4
    assert found["last"].activation_bytes == 3 * IMAGE * 4


def test_depthwise_convolutions_run_on_cuda_cores() -> None:
    text = """<ir_version: 9, opset_import: ["": 17]>
    g (float[N, 8, 16, 16] x) => (float[N, 8, 16, 16] y) { [d] y = Conv <pads = [1, 1, 1, 1], group = 8> (x, w) }"""
    (kernel,) = kernels(read(text, {"w": (8, 1, 3, 3)}), {"x": (1, 8, 16, 16)})
    assert kernel.kind == "depthwise" and kernel.products[0].unit == "vector"
    assert kernel.macs == IMAGE * 9


def test_a_slice_reads_its_part_and_a_lookup_its_rows() -> None:
    text = """<ir_version: 9, opset_import: ["": 17]>
    g (int64[N, 4] t) => (float[N, 4, 8] y) <int64[1] zero = {0}, int64[1] eight = {8}, int64[1] axis = {2}> {
      [lookup] e = Gather (table, t)
      [part] p = Slice (e, zero, eight, axis)
      [soft] y = Softmax (p)
    }"""
    lookup, soft = kernels(read(text, {"table": (1000, 16)}), {"t": (1, 4)})
    assert lookup.activation_bytes == 4 * 8 + 4 * 16 * 4 + 4 * 16 * 4 and lookup.weight_bytes == 0
    assert soft.activation_bytes == 2 * 4 * 8 * 4


def test_kernels_come_in_an_order_they_can_run_in() -> None:
    """The sum joins the kernel of its float operand, which then waits for the one whose integers it reads."""
    text = QUANTIZED.replace("float[N, 8, 16, 16] y)", "float[N, 8, 16, 16] z)").replace("[conv2] y =", "[conv2] u =")
    text = (
        text.rstrip("}")
        + """
      [side] s = Conv <pads = [1, 1, 1, 1]> (xd, w1d)
      [sq] si = QuantizeLinear (s, scale, zero)
      [sdq] sd = DequantizeLinear (si, scale, zero)
      [add] z = Add (u, sd)
    }"""
    )
    found = kernels(read(text, {"w1": (8, 8, 3, 3), "w2": (8, 8, 3, 3)}), {"x": (1, 8, 16, 16)})
    names = [kernel.name for kernel in found]
    assert by_name(found)["conv2"].nodes == ("conv2", "add")
    assert names.index("side") < names.index("conv2")
    assert by_name(found)["side"].activation_bytes == IMAGE * (1 + 1)


@pytest.mark.parametrize(
    ("condition", "known"), [("[r] y = Relu (x)", True), ("[nz] i = NonZero (x)  [r] y = Cast <to = 1> (i)", False)]
)
def test_shapes_that_depend_on_the_data_are_said_to_be_unknown(condition: str, known: bool) -> None:
    text = f"""<ir_version: 9, opset_import: ["": 17]>
    g (float[N, 8] x) => (float[A, B] y) {{ {condition} }}"""
    assert all(kernel.known for kernel in kernels(read(text, {}), {"x": (1, 8)})) is known


def test_a_dot_product_and_a_recurrent_layer_are_products_too() -> None:
    text = """<ir_version: 9, opset_import: ["": 17]>
    g (float[8] a, float[5, N, 4] x) => (float y, float[5, 1, N, 6] h) {
      [dot] y = MatMul (a, b)
      [lstm] h = LSTM <hidden_size = 6> (x, w, r)
    }"""
    weights = {"b": (8,), "w": (1, 24, 4), "r": (1, 24, 6)}
    found = by_name(kernels(read(text, weights), {"a": (8,), "x": (5, 1, 4)}))
    assert found["dot"].macs == 8 and found["dot"].products[0].columns == 1
    assert found["lstm"].macs == 5 * 24 * 10 and found["lstm"].kind == "gemm"
