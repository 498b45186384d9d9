"""Which graphs are symmetric int8, the only kind TensorRT takes."""

from __future__ import annotations

import onnx.parser
import pytest

from studies.baselines.evaluate_cell import is_symmetric

GRAPH = """<ir_version: 10, opset_import: ["" : 21]>
g (float[N] x) => (float[N] y) <float scale = {{0.1}}, {kind} zero = {{{value}}}>
{{ q = QuantizeLinear(x, scale, zero)  y = DequantizeLinear(q, scale, zero) }}"""


@pytest.mark.parametrize(("kind", "value", "symmetric"), [("int8", 0, True), ("int8", 3, False), ("uint8", 0, False)])
def test_zero_point_type_and_value_decide(kind: str, value: int, symmetric: bool) -> None:
    model = onnx.parser.parse_model(GRAPH.format(kind=kind, value=value))
    assert is_symmetric(model.graph) is symmetric


def test_without_a_zero_point_the_default_is_uint8() -> None:
    text = '<ir_version: 10, opset_import: ["" : 21]>\ng (float[N] x) => (uint8[N] y) <float scale = {0.1}>'
    assert not is_symmetric(onnx.parser.parse_model(text + " { y = QuantizeLinear(x, scale) }").graph)
