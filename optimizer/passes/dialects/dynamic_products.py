"""Bodies of ONNX Runtime's products of codes that are found as the model runs (``com.microsoft``).

Definitions: ONNX Runtime's ``docs/ContribOperators.md``. Its optimizer fuses them out of DynamicQuantizeLinear,
MatMulInteger and the multiplication by both scales, which is what they become again.
"""

from __future__ import annotations

import onnx_ir as ir

from optimizer.passes.spelling_out.bodies import Bodies, Body


def _quantized(node: ir.Node, opset: int) -> ir.Function | None:
    """Data, codes of the weight, their scale, zero point and a bias."""
    body = Body(node, opset)
    codes, scale, zero = body.several("DynamicQuantizeLinear", 3, body.given(0))
    operands = (codes, body.given(1), zero, body.given(3))
    return _floats(body, operands, (scale, body.given(2)), body.given(4))


def _to_float(node: ir.Node, opset: int) -> ir.Function | None:
    """Codes of data and weight, both scales, both zero points and a bias."""
    body = Body(node, opset)
    first, second, *scales, zero, other, bias = (body.given(index) for index in range(7))
    return _floats(body, (first, second, zero, other), (scales[0], scales[1]), bias)


def _floats(body: Body, operands: tuple[str, ...], scales: tuple[str, str], bias: str) -> ir.Function | None:
    product = body.do("Cast", body.do("MatMulInteger", *operands), to=ir.DataType.FLOAT.value)
    result = body.do("Mul", product, body.do("Mul", *scales))
    return body.function(body.do("Add", result, bias) if bias else result)


DYNAMIC: Bodies = {"DynamicQuantizeMatMul": _quantized, "MatMulIntegerToFloat": _to_float}
