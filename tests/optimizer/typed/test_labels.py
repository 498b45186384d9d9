"""A product that came in int8 is called int8."""

from __future__ import annotations

import onnx_ir as ir

from optimizer.precision import Dtype, NodePrecision, PrecisionPlan
from optimizer.typed.labels import GIVEN, with_given_int8

GIVEN_INT8 = """<ir_version: 10, opset_import: ["" : 21]>
g (float[4,16] x, float s, uint8 z, int8[16,16] w, float[16] ws) => (float[4,16] y) {
    [q] c = QuantizeLinear(x, s, z)
    [d] f = DequantizeLinear(c, s, z)
    [dw] v = DequantizeLinear <axis=1> (w, ws)
    [product] m = MatMul(f, v)
    [float] y = MatMul(m, v)
}"""


def test_a_product_that_came_in_int8_is_called_so() -> None:
    plan = PrecisionPlan({name: NodePrecision(Dtype.FP16, "asked for", "MatMul") for name in ("product", "float")})
    found = with_given_int8(plan, ir.from_onnx_text(GIVEN_INT8)).nodes
    assert (found["product"].dtype, found["product"].reason) == (Dtype.INT8, GIVEN)
    assert found["float"].dtype is Dtype.FP16
