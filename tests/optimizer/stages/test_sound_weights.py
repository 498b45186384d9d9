"""A weight of NaN is named where it stands: its model's answers were judged "exact" beside themselves."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from graphs.errors import BadInput
from optimizer.stages.sound_weights import check_weights

TEXT = """<ir_version: 10, opset_import: ["" : 21]> g (float[N, 4] x) => (float[N, 3] y) {
    h = MatMul(x, w)
    [last] y = Gemm(h, v, c)
}"""


def model(**spoilt: float) -> ir.Model:
    found = ir.from_onnx_text(TEXT)
    for name, shape in {"w": (4, 5), "v": (5, 3), "c": (3,)}.items():
        array = np.ones(shape, np.float32)
        if name in spoilt:
            array.flat[2] = spoilt[name]
        value = next(value for node in found.graph for value in node.inputs if value is not None and value.name == name)
        value.const_value = ir.tensor(array, name=name)
        found.graph.register_initializer(value)
    return found


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [("w", np.nan, "1 of 20"), ("v", np.inf, "1 of 15"), ("v", -np.inf, "1 of 15"), ("c", np.nan, "1 of 3")],
)
def test_it_is_refused_and_named(name: str, value: float, told: str) -> None:
    with pytest.raises(BadInput, match=f"weight '{name}' of .*: {told} values") as caught:
        check_weights(model(**{name: value}), "m.onnx")
    assert caught.value.where == "m.onnx"


@pytest.mark.parametrize("spoilt", [{}, {"c": -np.inf}, {"w": 3e38}])
def test_numbers_and_a_bias_that_rules_out_are_taken(spoilt: dict[str, float]) -> None:
    check_weights(model(**spoilt), "m.onnx")


def test_a_variance_without_a_root_is_refused() -> None:
    text = """<ir_version: 10, opset_import: ["" : 21]> g (float[N, 2] x) => (float[N, 2] y)
    <float[2] s = {1, 1}, float[2] v = {-1e-6, 0}> { [norm] y = BatchNormalization(x, s, s, s, v) }"""
    check_weights(ir.from_onnx_text(text), "m.onnx")  # the epsilon makes up for it
    with pytest.raises(BadInput, match="variance 'v' of BatchNormalization 'norm': 1 of 2 are negative"):
        check_weights(ir.from_onnx_text(text.replace("-1e-6", "-1.0")), "m.onnx")
