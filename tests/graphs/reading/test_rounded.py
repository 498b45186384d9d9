"""Integer outputs: numbers that were rounded, or labels."""

from __future__ import annotations

import onnx_ir as ir

from graphs.reading.rounded import rounded_outputs

GRAPH = """
<ir_version: 8, opset_import: ["" : 21]>
g (float[N,4] x) => (int8[N,4] codes, uint8[4,N] pixels, int64[N] label, uint8[N] mask, float[N,4] r, int32[N,4] above)
<float scale = {0.1}, int8 zero = {0}, float none = {0.0}> {
    codes = QuantizeLinear(x, scale, zero)
    r = Relu(x)
    bytes = Cast<to = 2>(r)
    pixels = Transpose(bytes)
    label = ArgMax<axis = 1, keepdims = 0>(x)
    mask = Cast<to = 2>(label)
    more = Greater(x, none)
    above = Cast<to = 6>(more)
}
"""


def test_codes_and_pixels_are_numbers_and_labels_are_not() -> None:
    assert rounded_outputs(ir.from_onnx_text(GRAPH)) == {"codes", "pixels"}
