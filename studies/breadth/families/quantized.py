"""Sources that are quantized already: Q/DQ of both signs, QOperator nodes, dynamic quantization, integer products."""

from __future__ import annotations

import numpy as np

from studies.breadth.draft import Draft, Rejected, Value


def quantize_and_back(d: Draft) -> object:
    return _back(d, *_quantized(d, d.pick()))


def _quantized(d: Draft, value: Value) -> tuple[Value, Value, Value]:
    """The value in 8 bits with its scale and zero point."""
    if d.opset < 10 or d.dtype != np.float32:
        raise Rejected
    scale = d.constant(np.float32(max(float(np.abs(value.array).max()), 0.1) / 127))
    zero = d.constant(np.asarray(0, np.int8)) if d.chance(0.5) else d.constant(np.asarray(128, np.uint8))
    return d.add("QuantizeLinear", [value, scale, zero]), scale, zero


def _back(d: Draft, value: Value, scale: Value, zero: Value) -> Value:
    found: Value = d.add("DequantizeLinear", [value, scale, zero])
    return found


def quantized_product(d: Draft) -> object:
    """QLinearMatMul between a quantized activation and a constant in 8 bits."""
    value = d.pick(2, 3)
    inner, out = value.array.shape[-1], int(d.rng.integers(1, 7))
    codes, scale, zero = _quantized(d, value)
    weight = d.constant(d.rng.integers(-127, 128, (inner, out)).astype(np.int8))
    scales = [d.constant(np.float32(s)) for s in (0.01, 0.05)]
    zeros = [d.constant(np.asarray(0, np.int8)), d.constant(np.asarray(0, zero.array.dtype))]
    made = d.add("QLinearMatMul", [codes, scale, zero, weight, scales[0], zeros[0], scales[1], zeros[1]])
    return _back(d, made, scales[1], zeros[1])


def weight_in_8_bits(d: Draft) -> object:
    """A product whose constant is stored in 8 bits and dequantized, its activation in float."""
    value = d.pick(2, 3)
    if d.opset < 13 or d.dtype != np.float32:
        raise Rejected
    inner, out = value.array.shape[-1], int(d.rng.integers(1, 7))
    codes = d.constant(d.rng.integers(-127, 128, (inner, out)).astype(np.int8))
    scale = d.constant(d.rng.uniform(0.005, 0.02, out), np.float32)
    weight = d.add("DequantizeLinear", [codes, scale, d.constant(np.zeros(out, np.int8))], axis=1)
    return d.add("MatMul", [value, weight])


def dynamic(d: Draft) -> object:
    """DynamicQuantizeLinear and MatMulInteger, as ONNX Runtime's dynamic quantization leaves them."""
    value = d.pick(2, 3)
    if d.opset < 11 or d.dtype != np.float32:
        raise Rejected
    inner, out = value.array.shape[-1], int(d.rng.integers(1, 7))
    codes, scale, zero = d.add("DynamicQuantizeLinear", [value], outputs=3)
    weight = d.constant(d.rng.integers(-127, 128, (inner, out)).astype(np.int8))
    product = d.add("MatMulInteger", [codes, weight, zero, d.constant(np.asarray(0, np.int8))])
    real = d.add("Cast", [product], to=1)
    return d.add("Mul", [real, d.add("Mul", [scale, d.constant(np.float32(0.01))])])


STEPS = (quantize_and_back, quantize_and_back, quantized_product, weight_in_8_bits, dynamic)
