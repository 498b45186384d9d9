"""Shapes of a graph whose inputs have fixed sizes."""

from __future__ import annotations

import warnings

import onnx_ir as ir

from graphs.reading.shapes import static_shape, with_shapes

MASKED = """<ir_version: 10, opset_import: ["" : 21]>
g (float16[N, 4] x) => (float16[N, M] y) {
  low = Constant<value = float {-3.4e38}>()
  half = Cast<to = 10>(low)
  sum = Add(x, half)
  shape = Shape(x)
  y = Reshape(sum, shape)
}"""


def test_a_mask_beyond_half_precision_raises_no_warning_of_numpys():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = with_shapes(ir.from_onnx_text(MASKED), {"x": (3, 4)})
    assert not caught
    assert static_shape(found.graph.outputs[0]) == (3, 4)
