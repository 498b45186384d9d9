"""TensorRT's quantizers in blocks as standard operators, beside the same arithmetic by ml_dtypes."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest

from engines.onnxruntime.graph import simulated_outputs
from graphs.tensorrt.block_quantizers import expand_block_quantizers, has_block_quantizers

LEVEL = np.float32(2.0**-9)
FP4 = """<ir_version: 11, opset_import: ["" : 23, "trt" : 1]> g (float[A, B, K] x) => (float[A, B, K] y)
<float level = {0.001953125}> {
    codes, scales = trt.TRT_FP4DynamicQuantize <axis = -1, block_size = 16, scale_type = 17> (x, level)
    scale = DequantizeLinear (scales, level)
    y = DequantizeLinear <axis = -1, block_size = 16> (codes, scale)
}"""
MX = """<ir_version: 11, opset_import: ["" : 23, "trt" : 1]> g (float[A, B, K] x) => (float[A, B, K] y) {
    codes, scales = trt.TRT_MXFP8DynamicQuantize <axis = -1, block_size = 32, output_dtype = 17> (x)
    y = trt.TRT_MXFP8DequantizeLinear <axis = -1, block_size = 32, output_dtype = 1> (codes, scales)
}"""


def parse(text: str) -> ir.Model:
    model = ir.from_onnx_text(text)
    for node in model.graph:
        node.name = f"{node.outputs[0].name}_node"
        if "Dynamic" in node.op_type:
            kind = ir.DataType.FLOAT4E2M1 if "FP4" in node.op_type else ir.DataType.FLOAT8E4M3FN
            node.outputs[0].type = ir.TensorType(kind)
    return model


def values() -> np.ndarray:
    rng = np.random.default_rng(0)
    x = rng.normal(0, 1, (3, 5, 64)).astype(np.float32) * np.exp(rng.normal(0, 2, (3, 5, 1))).astype(np.float32)
    x[0, 0, :32] = 0
    x[0, 1, :16] = np.float32([0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5, 6, -0.25, -0.75, -2.5, -5, 6, 0, 1, 2])
    x[1, 0, 0] = 448 * 2
    x[1, 1, 32:] = 0
    x[1, 1, 40] = 448 * 8
    return x


def nvfp4(x: np.ndarray) -> np.ndarray:
    blocks = x.reshape(*x.shape[:-1], -1, 16)
    scales = np.minimum(np.abs(blocks).max(-1, keepdims=True) / np.float32(6) / LEVEL, 448)
    scales = scales.astype(ml_dtypes.float8_e4m3fn).astype(np.float32) * LEVEL
    steps = np.clip(blocks / np.where(scales == 0, 1, scales), -6, 6).astype(ml_dtypes.float4_e2m1fn)
    return (steps.astype(np.float32) * scales).reshape(x.shape)


def mxfp8(x: np.ndarray) -> np.ndarray:
    blocks = x.reshape(*x.shape[:-1], -1, 32)
    significand, exponent = np.frexp(np.maximum(np.abs(blocks).max(-1, keepdims=True) / np.float32(448), 2.0**-120))
    scales = np.exp2(np.where(significand == 0.5, exponent - 1, exponent)).astype(np.float32)
    stored = scales.astype(ml_dtypes.float8_e8m0fnu).astype(np.float32)
    assert np.array_equal(stored, scales)
    steps = np.clip(blocks / scales, -448, 448).astype(ml_dtypes.float8_e4m3fn)
    return (steps.astype(np.float32) * scales).reshape(x.shape)


@pytest.mark.parametrize(("text", "wanted"), [(FP4, nvfp4), (MX, mxfp8)], ids=["nvfp4", "mxfp8"])
def test_the_chain_is_exact(text: str, wanted) -> None:  # type: ignore[no-untyped-def]
    x = values()
    (found,) = simulated_outputs(parse(text), [{"x": x}])
    assert np.array_equal(found["y"], wanted(x))


@pytest.mark.parametrize("text", [FP4, MX], ids=["nvfp4", "mxfp8"])
def test_nothing_of_another_domain_is_left(text: str) -> None:
    model = parse(text)
    assert has_block_quantizers(model)
    expand_block_quantizers(model)
    assert not has_block_quantizers(model) and {node.domain for node in model.graph} == {""}
    assert [value.name for value in model.graph.outputs] == ["y"]
