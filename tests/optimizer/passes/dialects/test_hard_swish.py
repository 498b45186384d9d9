"""Every spelling of HardSwish that exporters use becomes the operator; what is like it and is another stays."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from optimizer.equivalence import compare_graphs
from optimizer.passes.dialects.hard_swish import NameHardSwish

CONSTANTS = (
    "<float zero = {0.0}, float three = {3.0}, float six = {6.0}, float[1] sixth = {0.16666667}, float four = {4.0}>"
)
SPELLINGS = {
    "pytorch, opset 9 to 13": "h = HardSigmoid <alpha = 0.16666667> (x) [last] y = Mul(x, h)",
    "paddle, opset 10": "a = Add(x, three) c = Clip(a, zero, six) m = Mul(x, c) [last] y = Div(m, six)",
    "mmdetection": "a = Add(three, x) c = Clip(a, zero, six) d = Div(c, six) [last] y = Mul(d, x)",
    "keras": "a = Add(x, three) c = Clip(a, zero, six) d = Mul(c, sixth) [last] y = Mul(x, d)",
    "keras 3": "a = Add(x, three) c = Clip(a, zero, six) m = Mul(c, x) [last] y = Mul(sixth, m)",
}
OTHERS = {
    "another slope": "h = HardSigmoid(x) y = Mul(x, h)",
    "another tensor": "s = Sigmoid(x) h = HardSigmoid <alpha = 0.16666667> (s) y = Mul(x, h)",
    "another bound": "a = Add(x, three) c = Clip(a, zero, four) d = Div(c, six) y = Mul(d, x)",
    "divided by the product": "a = Add(x, three) c = Clip(a, zero, six) m = Mul(x, c) y = Div(six, m)",
    "read elsewhere, too": "h = HardSigmoid <alpha = 0.16666667> (x) p = Mul(x, h) y = Add(p, h)",
    "no scale": "a = Add(x, three) c = Clip(a, zero, six) y = Mul(x, c)",
}


def model(body: str) -> ir.Model:
    text = f'<ir_version: 8, opset_import: ["" : 21]> g (float[N,7] x) => (float[N,7] y) {CONSTANTS} {{ {body} }}'
    return ir.from_onnx_text(text)


@pytest.mark.parametrize("body", SPELLINGS.values(), ids=SPELLINGS)
def test_every_spelling_becomes_the_operator_under_its_last_nodes_name(body: str) -> None:
    given = model(body)
    named = given.clone()
    assert NameHardSwish().apply(named).modified == 1
    assert [(node.op_type, node.name) for node in named.graph] == [("HardSwish", "last")]
    feeds = [{"x": np.linspace(-6, 6, 21, dtype=np.float32).reshape(3, 7)}]
    assert compare_graphs(given, named, feeds).near


@pytest.mark.parametrize("body", OTHERS.values(), ids=OTHERS)
def test_what_is_another_function_stays(body: str) -> None:
    given = model(body)
    assert NameHardSwish().apply(given).modified == 0
