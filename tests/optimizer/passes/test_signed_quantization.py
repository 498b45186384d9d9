"""uint8 around 128 becomes int8 around 0, number for number."""
# ruff: noqa: E501 (models as text)

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from optimizer.equivalence import compare_graphs
from optimizer.importing.names import name_nodes
from optimizer.passes.signed_quantization import SignedQuantization

X = np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32) * 20


def parse(body: str, weights: str, output: str = "float[5, 2] y") -> ir.Model:
    text = f'<ir_version: 10, opset_import: ["" : 21]> g (float[5, 4] x) => ({output}) <{weights}> {{ {body} }}'
    model = ir.from_onnx_text(text)
    name_nodes(model)
    return model


PAIR = "q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) w = DequantizeLinear(v, s, z) y = MatMul(d, w)"
WEIGHTS = "float s = {0.1}, uint8[4, 2] v = {0, 255, 128, 7, 9, 127, 200, 1}, uint8 z = {128}"


def test_activations_and_weights_are_signed() -> None:
    given = parse(PAIR, WEIGHTS)
    signed = given.clone()
    assert SignedQuantization().apply(signed).modified == 2
    assert not any(v.dtype == ir.DataType.UINT8 for v in signed.graph.initializers.values())
    found = compare_graphs(given, signed, [{"x": X}], fuse_qdq=False)
    assert found.same and found.sqnr_db > 150, found.why


@pytest.mark.parametrize(
    ("body", "weights", "output"),
    [
        (PAIR, WEIGHTS.replace("{128}", "{127}"), "float[5, 2] y"),
        ("y = QuantizeLinear(x, s, z) d = DequantizeLinear(y, s, z) e = Neg(d)", "float s = {0.1}, uint8 z = {128}", "uint8[5, 4] y, float[5, 4] e"),
        ("q = QuantizeLinear(x, s, z) y = Cast<to = 1>(q)", "float s = {0.1}, uint8 z = {128}", "float[5, 4] y"),
    ],
    ids=["another zero point", "an output", "another reader"],
)  # fmt: skip
def test_what_has_no_equal_stays(body: str, weights: str, output: str) -> None:
    assert SignedQuantization().apply(parse(body, weights, output)).modified == 0
