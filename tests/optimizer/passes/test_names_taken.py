"""A name that a pass wants to give may be taken by anything in the user's graph: each pass is run on such a graph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest

from calibration.table import CalibrationTable
from optimizer.passes.folding.affine import FoldAffine
from optimizer.passes.folding.batch_norm import FoldBatchNorm
from optimizer.passes.half_precision.graph import HalfPrecision
from optimizer.passes.half_precision.scale_products import ScaleProducts
from optimizer.passes.number_types.signed_codes import SignedCodes
from optimizer.passes.spelling_out.unroll_step import UnrollSingleStep
from optimizer.quantization.codes.scheme import ONNXRUNTIME, TENSORRT
from optimizer.quantization.insertion.qdq import insert
from optimizer.quantization.placement.place import place
from optimizer.quantization.placement.place_for_cpu import place_for_cpu
from optimizer.simulation.extremes import Extremes
from optimizer.simulation.float_twin import float_twin
from optimizer.sparsity.magnitude import PruneTwoFour
from tests.optimizer.quantization.models import table

CONV = """
g (float[1, 16, 4, 4] x) => (float[1, 16, 4, 4] y)
<float[16, 16, 1, 1] w, float[16] b, float[16] gain, float[16] mean, float[16] spread, float[1] shift> {
  c = Conv (x, w)
  n = BatchNormalization (c, gain, b, mean, spread)
  r = Relu (n)
  c2 = Conv (r, w)
  a = Add (c2, shift)
  y = Sigmoid (a)
}
"""
LSTM = """
g (float[1, 1, 4] x, float[1, 1, 4] h, float[1, 1, 4] c) => (float[1, 1, 1, 4] y, float[1, 1, 4] hn, float[1, 1, 4] cn)
<float[1, 16, 4] w, float[1, 16, 4] r, float[1, 32] b> {
  y, hn, cn = LSTM <hidden_size = 4> (x, w, r, b, , h, c)
}
"""
CODES = """
g (float[1, 4] x, float s) => (float[1, 4] y) <uint8 z = {128}, float scale = {0.1}> {
  q = QuantizeLinear (x, scale, z)
  d = DequantizeLinear (q, scale, z)
  y = Mul (d, s)
}
"""
BRANCHES = """
g (float[4] x, bool flag) => (float[4] y) <float[4] w> {
  a = Mul (x, w)
  y = If (flag) <
    then_branch = yes () => (float[4] t) { t = Mul (a, w) },
    else_branch = no () => (float[4] e) { s = Sigmoid (a)  e = Add (s, w) }
  >
}
"""


def half(model: ir.Model) -> None:
    HalfPrecision(keep={"Relu_r": "asked for"}).apply(model)


def twin(model: ir.Model) -> None:
    half(model)
    float_twin(model)


def scaled(model: ir.Model) -> None:
    ScaleProducts(Extremes({"c": 1e5, "c2": 1e5, "x": 1e5, "n": 1e5, "r": 1e5})).apply(model)


def ranges(model: ir.Model) -> CalibrationTable:
    made = [str(value.name) for node in model.graph for value in node.outputs]
    return table(**dict.fromkeys(["x", *made], 4.0))


def for_tensorrt(model: ir.Model) -> None:
    insert(model, place(model, scheme=TENSORRT, keep_float={}, table=ranges(model)), ranges(model))


def for_cpu(model: ir.Model) -> None:
    insert(model, place_for_cpu(model, scheme=ONNXRUNTIME, keep_float={}, table=ranges(model)), ranges(model))


PASSES: list[tuple[str, Callable[[ir.Model], object]]] = [
    (CONV, lambda model: FoldBatchNorm().apply(model)),
    (CONV, lambda model: FoldAffine().apply(model)),
    (CONV, lambda model: PruneTwoFour().apply(model)),
    (CONV, half),
    (CONV, twin),
    (CONV, scaled),
    (CONV, for_tensorrt),
    (CONV, for_cpu),
    (LSTM, lambda model: UnrollSingleStep().apply(model)),
    (LSTM, twin),
    (CODES, lambda model: SignedCodes().apply(model)),
    (BRANCHES, half),
    (BRANCHES, twin),
]


def parsed(text: str) -> ir.Model:
    """The graph with seeded weights for what it declares."""
    proto = onnx.parser.parse_model('<ir_version: 9, opset_import: ["" : 21]>' + text)
    rng = np.random.default_rng(0)
    for value in proto.graph.value_info:
        shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        proto.graph.initializer.append(onnx.numpy_helper.from_array(rng.random(shape, np.float32) + 0.5, value.name))
    del proto.graph.value_info[:]
    model = ir.from_proto(onnx.shape_inference.infer_shapes(proto))
    for graph in model.graphs():
        for node in graph:
            node.name = f"{node.op_type}_{node.outputs[0].name}"
    return model


def names(model: ir.Model) -> tuple[Counter[str], Counter[str]]:
    """How often each name of a value, and of a node, is given in the graph."""
    values: Counter[str] = Counter()
    for graph in model.graphs():
        values.update(str(value.name) for value in graph.inputs)
        values.update(list(graph.initializers))
        values.update(str(output.name) for node in graph for output in node.outputs if output.name)
    return values, Counter(str(node.name) for graph in model.graphs() for node in graph)


def answers(model: ir.Model, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
    session = ort.InferenceSession(ir.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(None, feed))


@pytest.mark.parametrize(("text", "apply"), PASSES)
def test_every_name_a_pass_gives_may_be_taken(text: str, apply: Callable[[ir.Model], object]) -> None:
    source = parsed(text)
    before_values, before_nodes = names(source)
    plain = source.clone()
    apply(plain)
    values, nodes = names(plain)
    new_values, new_nodes = set(values) - set(before_values), set(nodes) - set(before_nodes)
    assert values.total() != before_values.total() or new_values, "the pass does something here"
    taken = source.clone()
    for name in sorted(new_values | new_nodes):
        holder = ir.node("Shape", [taken.graph.inputs[0]], name=name)
        holder.outputs[0].name = name
        taken.graph.insert_before(taken.graph[0], holder)
    apply(taken)
    given_values, given_nodes = names(taken)
    assert [name for name, count in (*given_values.items(), *given_nodes.items()) if count > 1] == []
    feed = {str(value.name): drawn(value) for value in source.graph.inputs}
    for found, expected in zip(answers(taken, feed), answers(plain, feed), strict=True):
        np.testing.assert_array_equal(found, expected)


def drawn(value: ir.Value) -> np.ndarray:
    if value.dtype == ir.DataType.BOOL:
        return np.array(True)
    assert value.shape is not None
    drawn: np.ndarray = np.random.default_rng(1).standard_normal(value.shape.numpy()).astype(np.float32)
    return drawn
