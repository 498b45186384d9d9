"""Gram matrices against the op itself: ``trace(W XᵀX Wᵀ)`` is the energy of the op's output."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest

from calibration.moments import collect_gram
from engines.errors import BadInput

CASES = {
    "pointwise": ("Conv", (6, 4, 1, 1), "", (1, 4, 5, 6)),
    "padded": ("Conv", (6, 4, 3, 3), "pads=[1, 0, 1, 2], strides=[2, 1]", (1, 4, 7, 6)),
    "same": ("Conv", (6, 4, 3, 2), 'auto_pad="SAME_UPPER", strides=[2, 3]', (1, 4, 8, 9)),
    "dilated": ("Conv", (6, 4, 3, 3), "dilations=[2, 1]", (1, 4, 9, 6)),
    "depthwise": ("Conv", (4, 1, 3, 3), "group=4", (1, 4, 7, 6)),
    "grouped": ("Conv", (6, 2, 3, 3), "group=2", (1, 4, 7, 6)),
    "signal": ("Conv", (5, 4, 3), "", (1, 4, 9)),
    "volume": ("Conv", (3, 2, 2, 2, 2), "", (1, 2, 4, 3, 5)),
    "tokens": ("MatMul", (8, 5), "", (1, 6, 8)),
    "dense": ("Gemm", (5, 8), "transB=1", (4, 8)),
}


def model_and_weight(case: str) -> tuple[ir.Model, np.ndarray]:
    op, weight_shape, attributes, x_shape = CASES[case]
    dims = ", ".join(f"d{i}" for i in range(len(x_shape)))
    graph = f"g (float[{dims}] x) => (float[] y) {{ y = {op} <{attributes}> (x, w) }}"
    text = f'<ir_version: 8, opset_import: ["": 17]> {graph}'
    proto = onnx.parser.parse_model(text.replace("<>", ""))
    proto.graph.node[0].name = "op"
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    weight = np.random.default_rng(0).normal(size=weight_shape).astype(np.float32)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    return ir.from_proto(proto), weight


def as_filters(case: str, weight: np.ndarray, groups: int) -> np.ndarray:
    """[groups, filters, K]"""
    op = CASES[case][0]
    rows = weight.T if op == "MatMul" else weight.reshape(len(weight), -1)
    return rows.reshape(groups, -1, rows.shape[1]).astype(np.float64)


@pytest.mark.parametrize("case", CASES)
def test_the_gram_matrix_gives_the_energy_of_the_output(case):
    model, weight = model_and_weight(case)
    rng = np.random.default_rng(1)
    feeds = [{"x": rng.normal(size=CASES[case][3]).astype(np.float32)} for _ in range(3)]
    gram = collect_gram(model, ["op"], feeds, joinable=False, rows_per_sample=10_000)["op"]
    filters = as_filters(case, weight, len(gram.matrix))
    session = ort.InferenceSession(ir.to_proto(model).SerializeToString())
    energy = sum(float((session.run(None, feed)[0].astype(np.float64) ** 2).sum()) for feed in feeds)
    assert np.einsum("gfk,gkl,gfl->", filters, gram.matrix, filters) == pytest.approx(energy, rel=1e-4)


def test_rows_are_bounded_per_sample():
    model, _ = model_and_weight("padded")
    feeds = [{"x": np.ones((1, 4, 40, 40), np.float32)}] * 3
    assert collect_gram(model, ["op"], feeds, joinable=True, rows_per_sample=50)["op"].rows == 150


def test_a_transform_sees_the_activation_by_name():
    model, _ = model_and_weight("tokens")
    feed = {"x": np.ones((1, 6, 8), np.float32)}
    gram = collect_gram(model, ["op"], [feed], joinable=True, transform=lambda name, x: x * (2 if name == "x" else 0))
    np.testing.assert_allclose(gram["op"].matrix, np.full((1, 8, 8), 24.0))


def test_a_node_that_cannot_be_rounded_is_refused():
    model, _ = model_and_weight("tokens")
    with pytest.raises(BadInput, match="no such node"):
        collect_gram(model, ["other"], [], joinable=True)
