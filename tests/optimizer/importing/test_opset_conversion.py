"""A model of an old opset computes after import what it computed before: ONNX Runtime runs both where it can."""
# ruff: noqa: E501 (models as text)

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from engines.onnxruntime.engine import OnnxRuntimeEngine
from graphs.errors import BadInput
from optimizer.equivalence import compare_graphs
from optimizer.importing import import_model
from optimizer.importing.adapters import ADAPTERS
from tests.drawing import seeded

RNG = seeded(0)
F = np.float32


def r(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(F)


X = r(2, 3, 4, 5)
HALVES, ENLARGED, BOTH = [1, 1, 0.5, 0.6], [1, 1, 2, 1.5], [1, 1, 0.5, 2]


def build(
    op: str, opset: int, operands: list[np.ndarray], attributes: dict[str, Any], outputs: int, fixed: int, dynamic: bool
) -> onnx.ModelProto:
    """One node; the last ``fixed`` operands are constants, the others inputs x0, x1, …"""
    names = [f"x{i}" for i in range(len(operands))]
    count = len(operands) - fixed
    inputs = [
        helper.make_tensor_value_info(
            name,
            helper.np_dtype_to_tensor_dtype(array.dtype),
            [f"d{j}" for j in range(array.ndim)] if dynamic else array.shape,
        )
        for name, array in zip(names[:count], operands, strict=False)
    ]
    node = helper.make_node(op, names, [f"y{i}" for i in range(outputs)], **attributes)
    weights = [numpy_helper.from_array(a, n) for a, n in zip(operands[count:], names[count:], strict=True)]
    results = [onnx.ValueInfoProto(name=f"y{i}") for i in range(outputs)]
    kinds = {"TopK": [1, 7], "MaxPool": [1, 7], "Dropout": [1, 9], "Equal": [9], "Less": [9], "And": [9], "Cast": [6]}
    for i, value in enumerate(results):
        value.type.tensor_type.elem_type = kinds.get(op, [1, 1, 1])[i]
    graph = helper.make_graph([node], "g", inputs, results, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=4)


def imported(model: onnx.ModelProto, folder: Path) -> ir.Model:
    path = folder / "m.onnx"
    path.write_bytes(model.SerializeToString())
    return import_model(path).model


RUNNABLE: list[tuple[str, int, list[np.ndarray], dict[str, Any], int, int]] = [
    *((op, v, [X], {"axis": a}, 1, 0) for op in ("Softmax", "LogSoftmax", "Hardmax") for v in (7, 11) for a in (1, 2)),
    *(("Softmax", 11, [x], {}, 1, 0) for x in (X, r(2, 5), r(2, 5, 1, 1), r(2, 1, 5, 1), r(2, 1, 1))),
    ("Softmax", 12, [X], {"axis": -2}, 1, 0),
    *(
        ("Resize", 10, [X, np.array(s, F)], {"mode": mode}, 1, 1)
        for mode in ("nearest", "linear")
        for s in (HALVES, ENLARGED, BOTH)
    ),
    ("Resize", 10, [r(1, 2, 3, 4, 5), np.array([1, 1, 2, 2, 2], F)], {}, 1, 1),
    ("Upsample", 9, [X, np.array(ENLARGED, F)], {"mode": "linear"}, 1, 1),
    ("Upsample", 7, [X], {"mode": "nearest", "scales": [1.0, 1.0, 2.0, 1.5]}, 1, 0),
    *(
        (
            "Resize",
            11,
            [X, np.zeros(0, F), np.array([1, 1, *scales], F)],
            {"coordinate_transformation_mode": "tf_half_pixel_for_nn", "nearest_mode": "floor"},
            1,
            2,
        )
        for scales in ([1.7, 2.3], [0.7, 0.6])
    ),
    ("Slice", 7, [X], {"starts": [1, -3], "ends": [3, 1000], "axes": [1, 3]}, 1, 0),
    ("Slice", 7, [X], {"starts": [0, 1], "ends": [2, 3]}, 1, 0),
    ("TopK", 7, [X], {"k": 2, "axis": 2}, 2, 0),
    ("Pad", 7, [X], {"pads": [0, 0, 1, 2, 0, 0, 3, 1], "value": 1.5}, 1, 0),
    ("Pad", 7, [X], {"pads": [0, 0, 1, 2, 0, 0, 3, 1], "mode": "reflect"}, 1, 0),
    ("Clip", 7, [X], {"min": -0.5, "max": 0.5}, 1, 0),
    ("Clip", 7, [X], {"max": 0.5}, 1, 0),
    ("Clip", 7, [X], {}, 1, 0),
    ("Split", 11, [X], {"axis": 1, "split": [1, 2]}, 2, 0),
    ("Split", 7, [X], {"axis": 2}, 2, 0),
    ("Split", 13, [X, np.array([1, 2])], {"axis": 1}, 2, 1),
    ("Squeeze", 7, [r(1, 3, 1)], {"axes": [0]}, 1, 0),
    ("Unsqueeze", 7, [r(3, 2)], {"axes": [0, 3]}, 1, 0),
    *(
        (op, v, [np.abs(X) + 0.1], a, 1, 0)
        for op in ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceL2", "ReduceLogSumExp")
        for v in (7, 12)
        for a in ({"axes": [1, 3]}, {"keepdims": 0}, {"axes": [1], "keepdims": 0})
    ),
    ("ReduceMean", 13, [X], {"axes": [-1]}, 1, 0),
    ("BatchNormalization", 7, [X, r(3), r(3), r(3), np.abs(r(3))], {}, 1, 0),
    ("BatchNormalization", 7, [X, *(r(3, 4, 5) for _ in range(3)), np.abs(r(3, 4, 5))], {"spatial": 0}, 1, 0),
    ("Dropout", 7, [X], {"ratio": 0.3}, 1, 0),
    ("Dropout", 10, [X], {}, 2, 0),
    ("Scatter", 9, [X, np.array([[[[0, 1]]]]), r(1, 1, 1, 2)], {"axis": 3}, 1, 0),
    ("RoiAlign", 10, [r(1, 2, 6, 6), np.array([[0, 0, 4, 4]], F), np.array([0])], {"sampling_ratio": 2}, 1, 0),
    ("GridSample", 16, [r(1, 2, 4, 4), np.clip(r(1, 3, 3, 2), -1, 1)], {"mode": "bicubic"}, 1, 0),
    ("DFT", 17, [r(2, 4, 8, 1)], {"axis": 2}, 1, 0),
    ("DFT", 17, [r(2, 8, 1)], {}, 1, 0),
    ("GroupNormalization", 18, [r(2, 6, 4), r(3), r(3)], {"num_groups": 3}, 1, 0),
    ("GroupNormalization", 18, [r(2, 6, 4, 4), r(6), r(6)], {"num_groups": 6}, 1, 0),
    ("LSTM", 7, [r(4, 2, 3), r(1, 20, 3), r(1, 20, 5), r(1, 40)], {"hidden_size": 5}, 3, 0),
]


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("row", RUNNABLE, ids=lambda row: f"{row[0]}-{row[1]}")
def test_computes_what_it_did(
    row: tuple[str, int, list[np.ndarray], dict[str, Any], int, int], dynamic: bool, tmp_path: Path
) -> None:
    op, opset, operands, attributes, outputs, fixed = row
    given = build(op, opset, operands, attributes, outputs, fixed, dynamic)
    feed = {f"x{i}": array for i, array in enumerate(operands[: len(operands) - fixed])}
    found = compare_graphs(given.SerializeToString(), imported(given, tmp_path), [feed])
    assert found.same, found.why


A, B, C = r(2, 3, 4, 5), r(4, 5), np.abs(r(3)) + 0.5
P, Q, S = r(3, 4), r(4, 5), r(5)
PER_ROW = A[0, :, :, 0] + 9
N, M = np.arange(6).reshape(2, 3), np.array([0, 4])
BEFORE_RUNTIMES: list[tuple[str, int, list[np.ndarray], dict[str, Any], np.ndarray]] = [
    ("Sub", 1, [A, C], {"broadcast": 1, "axis": 1, "consumed_inputs": [0]}, A - C[:, None, None]),
    ("Mul", 6, [A, B], {"broadcast": 1}, A * B),
    ("Div", 6, [A, PER_ROW], {"broadcast": 1, "axis": -3}, A / PER_ROW[..., None]),
    ("Add", 6, [A, A[:, 0, 0, 0]], {"broadcast": 1, "axis": 0}, A + A[:, 0, 0, 0][:, None, None, None]),
    ("Equal", 1, [N, M], {"broadcast": 1, "axis": 0}, M[:, None] == N),
    ("PRelu", 1, [A, C], {}, np.where(A < 0, A * C[:, None, None], A)),
    ("Gemm", 6, [P, Q, S], {"broadcast": 1}, P @ Q + S),
    ("Cast", 1, [A], {"to": "INT32"}, A.astype(np.int32)),
    ("Concat", 1, [A, A], {}, np.concatenate([A, A], 1)),
    ("Reshape", 1, [A], {"shape": [0, -1]}, A.reshape(2, -1)),
    ("Pad", 1, [A], {"paddings": [0, 0, 1, 0, 0, 0, 0, 2]}, np.pad(A, ((0, 0), (0, 0), (1, 0), (0, 2)))),
    ("Relu", 1, [A], {"consumed_inputs": [0]}, np.maximum(A, 0)),
    ("Selu", 1, [A], {}, 1.0507 * np.where(A > 0, A, 1.6732 * (np.exp(A) - 1))),
    ("Dropout", 6, [A], {"is_test": 1, "ratio": 0.3}, A),
    ("Upsample", 1, [A], {"height_scale": 2.0, "width_scale": 1.0}, A.repeat(2, 2)),
    ("GlobalLpPool", 1, [A], {"p": 2.0}, np.sqrt((A**2).sum((2, 3), keepdims=True))),
    (
        "BatchNormalization",
        6,
        [A, C, C, C, C],
        {"is_test": 1},
        (A - C[:, None, None]) / np.sqrt(C + 1e-5)[:, None, None] * C[:, None, None] + C[:, None, None],
    ),
]


@pytest.mark.parametrize("row", BEFORE_RUNTIMES, ids=lambda row: f"{row[0]}-{row[1]}")
def test_computes_what_opsets_say_that_no_runtime_knows(
    row: tuple[str, int, list[np.ndarray], dict[str, Any], np.ndarray], tmp_path: Path
) -> None:
    op, opset, operands, attributes, wanted = row
    model = imported(build(op, opset, operands, attributes, 1, 0, True), tmp_path)
    with OnnxRuntimeEngine(ir.to_proto(model).SerializeToString()) as engine:
        found = engine.infer({f"x{i}": array for i, array in enumerate(operands)})["y0"]
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_a_rank_that_an_old_operator_hides_is_found_once_that_is_converted(tmp_path: Path) -> None:
    """Operators of opset 1 tell inference nothing: the second Add's rank is known only after the first's conversion."""
    text = """<ir_version: 3, opset_import: ["" : 1]> g (float[N, 3, 4, 4] x, float[3] b) => (float[N, 3, 4, 4] y) {
        s = Sigmoid(x)  t = Add<broadcast = 1, axis = 1>(s, b)  y = Mul<broadcast = 1, axis = 1>(t, b)
    }"""
    model = imported(onnx.parser.parse_model(text), tmp_path)
    x, b = r(2, 3, 4, 4), r(3)
    with OnnxRuntimeEngine(ir.to_proto(model).SerializeToString()) as engine:
        found = engine.infer({"x": x, "b": b})["y"]
    np.testing.assert_allclose(found, (1 / (1 + np.exp(-x)) + b[:, None, None]) * b[:, None, None], rtol=1e-4)


def test_a_scan_with_a_batch_axis(tmp_path: Path) -> None:
    text = """<ir_version: 3, opset_import: ["" : 8]>
    g (float[2, 3] initial, float[2, 5, 3] x) => (float[2, 3] final, float[2, 5, 3] sums) {
        final, sums = Scan<num_scan_inputs = 1, directions = [1], body = step (float[3] s, float[3] e) => (float[3] t, float[3] o)
            { t = Add(s, e)  o = Identity(t) }>("", initial, x)
    }"""
    given = onnx.parser.parse_model(text)
    feed = {"initial": r(2, 3), "x": r(2, 5, 3)}
    found = compare_graphs(given.SerializeToString(), imported(given, tmp_path), [feed])
    assert found.same, found.why


def test_a_function_keeps_the_opset_it_was_written_for(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["" : 18, "own" : 1]>
    g (float[N, 3, 4] x) => (float[N, 3, 4] y) { s = own.old(x)  y = Relu(s) }
    <domain: "own", opset_import: ["" : 12]> old (a) => (b) { m = ReduceMean<axes = [1]>(a)  d = Sub(a, m)  b = Softmax(d) }"""
    model = imported(onnx.parser.parse_model(text), tmp_path)
    x = r(2, 3, 4)
    with OnnxRuntimeEngine(ir.to_proto(model).SerializeToString()) as engine:
        found = engine.infer({"x": x})["y"]
    e = np.exp(x - x.mean(1, keepdims=True))
    np.testing.assert_allclose(found, e / e.sum((1, 2), keepdims=True), rtol=1e-4)


def test_what_has_no_equal_is_refused_by_name(tmp_path: Path) -> None:
    text = """<ir_version: 3, opset_import: ["" : 7]> g (float[2, 3] x, float[3] w) => (float[2, 3] y, float[3] saved) {
        [bn] y, m, v, saved, sv = BatchNormalization(x, w, w, w, w) }"""
    with pytest.raises(BadInput, match=r"opset 7 cannot be converted to 21: BatchNormalization 'bn': .*'saved'"):
        imported(onnx.parser.parse_model(text), tmp_path)


def test_every_changed_operator_is_in_the_catalogue() -> None:
    """Inputs that moved, attributes that went or got another default: read from onnx's own schemas."""
    later = {("Clip", 6): 11, ("Dropout", 7): 12}  # what went or changed there is dealt with by a later step
    missing = []
    history = [schema for schema in onnx.defs.get_all_schemas_with_history() if not schema.domain]
    for schema in history:
        before = [s for s in history if s.name == schema.name and s.since_version < schema.since_version]
        if not before or schema.since_version > 21:
            continue
        old = max(before, key=lambda s: s.since_version)
        gone = set(old.attributes) - set(schema.attributes)
        other = [
            name
            for name in set(old.attributes) & set(schema.attributes)
            if old.attributes[name].default_value.name
            and old.attributes[name].default_value != schema.attributes[name].default_value
        ]
        step = later.get((schema.name, schema.since_version), schema.since_version)
        if (gone or other) and step not in ADAPTERS.get(schema.name, {}):
            missing.append((schema.name, schema.since_version, gone, other))
    assert not missing


def test_types(tmp_path: Path) -> None:
    """Bounds and fills take the data's type."""
    for op, attributes in (("Clip", {"min": 0.0}), ("Pad", {"pads": [0, 1, 0, 1], "value": 2.0})):
        model = build(op, 7, [r(2, 3).astype(np.float64)], attributes, 1, 0, True)
        model.graph.output[0].type.tensor_type.elem_type = TensorProto.DOUBLE
        onnx.checker.check_model(ir.to_proto(imported(model, tmp_path)), full_check=True)
