"""A single-step LSTM written out gives what the node gave; anything else is left alone."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest

from optimizer.passes.spelling_out.unroll_step import RECURRENT, UnrollSingleStep
from optimizer.quantization.codes.scheme import TENSORRT
from optimizer.quantization.placement.place import place

WEIGHTS = {"w": (1, 128, 24), "r": (1, 128, 32), "b": (1, 256)}


def lstm(steps: int = 1, attributes: str = "hidden_size=32", outputs: str = "y, h, c") -> ir.Model:
    model = ir.from_onnx_text(
        f"""<ir_version: 9, opset_import: ["" : 19]> g (float[{steps},n,24] x, float[1,n,32] h0, float[1,n,32] c0,
            float[1,128,24] w, float[1,128,32] r, float[1,256] b)
            => (float[{steps},1,n,32] y, float[1,n,32] h, float[1,n,32] c) {{
            {outputs} = LSTM <{attributes}> (x, w, r, b, , h0, c0) }}"""
    )
    model.graph[0].name = "cell"
    rng = np.random.default_rng(0)
    for name, shape in WEIGHTS.items():
        value = next(value for value in model.graph.inputs if value.name == name)
        model.graph.inputs.remove(value)
        value.const_value = ir.tensor(rng.normal(0, 0.3, shape).astype(np.float32), name=name)
        model.graph.register_initializer(value)
    return model


def run(model: ir.Model, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
    session = ort.InferenceSession(ir.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, feed)


def test_one_step_is_the_same_and_has_no_lstm():
    model = lstm()
    rng = np.random.default_rng(1)
    feed = {name: rng.normal(size=shape).astype(np.float32) for name, shape in
            (("x", (1, 3, 24)), ("h0", (1, 3, 32)), ("c0", (1, 3, 32)))}  # fmt: skip
    before = run(model, feed)
    assert UnrollSingleStep().apply(model).modified == 1
    assert "LSTM" not in {node.op_type for node in model.graph}
    for wanted, got in zip(before, run(model, feed), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)


def test_the_input_product_is_int8_and_the_recurrent_one_is_not():
    model = lstm()
    UnrollSingleStep().apply(model)
    plan = place(model, scheme=TENSORRT, keep_float={}).plan.nodes
    assert plan["cell/input"].dtype.value == "int8"
    assert "recurrent" in plan["cell/recurrence"].reason
    assert [node.name for node in model.graph if RECURRENT in node.metadata_props] == ["cell/recurrence"]


@pytest.mark.parametrize(
    "other",
    [{"steps": 2}, {"attributes": 'hidden_size=32, direction="reverse"'}, {"attributes": "hidden_size=32, clip=3.0"}],
)
def test_other_recurrences_stay(other):
    assert UnrollSingleStep().apply(lstm(**other)).modified == 0
