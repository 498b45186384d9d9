"""How far a repair may go, and what is said of one that went further."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from optimizer.prequantized.repair_check import COARSER, LEAST_DB, RepairCheck

TEXT = """<ir_version: 10, opset_import: ["" : 21]>
g (float[1,64] x) => (float[1,64] y) <float s = {SCALE}, int8 z = {0}> {
    c = QuantizeLinear(x, s, z)
    d = DequantizeLinear(c, s, z)
    y = LAST(d)
}"""


def _model(scale: float, last: str = "Neg") -> ir.Model:
    return ir.from_onnx_text(TEXT.replace("SCALE", str(scale)).replace("LAST", last))


@pytest.mark.parametrize("scale", [0.05, 3.0])
def test_another_graph_is_refused_beside_what_the_source_itself_rounds(scale: float) -> None:
    x = np.random.default_rng(0).standard_normal((1, 64)).astype(np.float32)
    check = RepairCheck.of(_model(scale), [{"x": x}])
    noise = np.clip(np.rint(x / scale), -128, 127) * scale - x
    own = 10 * np.log10(float(((x + noise) ** 2).sum() / (noise**2).sum()))
    assert check.least_db == pytest.approx(min(max(own - COARSER, 0.0), LEAST_DB), abs=0.1)
    assert check.refuses(_model(scale)) == ""
    assert f"the source's own rounding leaves {own:.1f} dB" in check.refuses(_model(scale, "Identity"))
