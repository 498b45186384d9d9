"""Types and forms of a file that nothing downstream takes, brought to the one form it does."""
# ruff: noqa: E501 (models as text)

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from engines.onnxruntime.engine import OnnxRuntimeEngine
from optimizer.equivalence import compare_graphs
from optimizer.importing import ImportedModel, import_model
from optimizer.importing.equations import in_small_letters

X = np.random.default_rng(0).standard_normal((2, 4))


def imported(model: onnx.ModelProto | str, folder: Path) -> ImportedModel:
    made = onnx.parser.parse_model(model) if isinstance(model, str) else model
    (folder / "m.onnx").write_bytes(made.SerializeToString())
    return import_model(folder / "m.onnx")


def floats(model: ir.Model) -> set[ir.DataType]:
    """Float types of everything between inputs and outputs."""
    values = [v for g in model.graphs() for n in g for v in n.outputs if v not in model.graph.outputs and v.dtype]
    return {v.dtype for v in values if v.dtype is not None and v.dtype.is_floating_point()}


@pytest.mark.parametrize(("kind", "numpy_type"), [("double", np.float64), ("float16", np.float16)])
def test_another_float_type_computes_in_float32_behind_the_same_interface(
    kind: str, numpy_type: type, tmp_path: Path
) -> None:
    number = {"double": 11, "float16": 10}[kind]
    text = f"""<ir_version: 8, opset_import: ["" : 17]>
    g ({kind}[N, 4] x) => ({kind}[N, 4] y, {kind}[N, 4] x, {kind}[1] c) <{kind}[4] w = {{1, 2, 3, 4}}, {kind}[1] c = {{2}}> {{
        h = Constant <value_float = 0.5> ()
        k = Cast <to = {number}> (h)
        cond = Constant <value = bool {{1}}> ()
        a = Mul(x, w)
        f = Cast <to = 1> (a)
        b = Cast <to = {number}> (f)
        d = If (cond) <then_branch = t () => ({kind}[N, 4] p) {{ p = Add(b, k) }}, else_branch = e () => ({kind}[N, 4] q) {{ q = Sub(b, c) }}>
        y = Sqrt(d)
    }}"""
    model = onnx.parser.parse_model(text)
    for weight, values in zip(
        model.graph.initializer, ([1, 2, 3, 4], [2]), strict=True
    ):  # the parser reads half as bits
        weight.CopyFrom(numpy_helper.from_array(np.array(values, numpy_type), weight.name))
    made = imported(model, tmp_path)
    assert floats(made.model) == {ir.DataType.FLOAT}
    feed = {"x": np.abs(X).astype(numpy_type)}
    found = compare_graphs(tmp_path / "m.onnx", made.model, [feed])
    assert found.near, found.why
    name = np.dtype(numpy_type).name
    with OnnxRuntimeEngine(ir.to_proto(made.model).SerializeToString()) as engine:
        assert [spec.dtype for spec in (*engine.inputs, *engine.outputs)] == [name] * 4
    assert any(name in note for note in made.notes)


def test_constants_that_float32_cannot_hold_are_named(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["" : 17]>
    g (double[N, 2] x) => (double[N, 2] y) <double[2] big = {1e300, 1}, double[2] ids = {16777217, 2}, double[2] fine = {0.1, 3}> {
        a = Mul(x, big)  b = Add(a, ids)  y = Add(b, fine)
    }"""
    note = next(note for note in imported(text, tmp_path).notes if "float64" in note)
    assert "'big', 'ids'" in note and "fine" not in note


def test_bfloat16_is_float32_throughout(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["" : 17]> g (bfloat16[N, 4] x) => (bfloat16[N, 4] y)
    <bfloat16[4] w = {16256, 16384, 16448, 16512}> { a = Mul(x, w)  y = Relu(a) }"""
    made = imported(text, tmp_path)
    with OnnxRuntimeEngine(ir.to_proto(made.model).SerializeToString()) as engine:
        found = engine.infer({"x": X.astype(np.float32)})["y"]
    np.testing.assert_allclose(found, np.maximum(X * [1, 2, 3, 4], 0), rtol=1e-6)


@pytest.mark.parametrize("coordinates", [False, True], ids=["flat", "coordinates"])
def test_sparse_weights_become_dense(coordinates: bool, tmp_path: Path) -> None:
    values = numpy_helper.from_array(np.array([1, 2], np.float32), "w")
    places = np.array([[0, 1], [3, 2]]) if coordinates else np.array([1, 14])
    sparse = helper.make_sparse_tensor(values, numpy_helper.from_array(places, "i"), [4, 4])
    constant = helper.make_node("Constant", [], ["v"], sparse_value=sparse)
    nodes = [constant, helper.make_node("MatMul", ["x", "w"], ["a"]), helper.make_node("MatMul", ["a", "v"], ["y"])]
    inputs, outputs = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", 4]) for n in "xy")
    graph = helper.make_graph(nodes, "g", [inputs], [outputs], sparse_initializer=[sparse])
    made = imported(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path)
    dense = np.zeros((4, 4), np.float32)
    dense[0, 1], dense[3, 2] = 1, 2
    with OnnxRuntimeEngine(ir.to_proto(made.model).SerializeToString()) as engine:
        found = engine.infer({"x": X.astype(np.float32)})["y"]
    np.testing.assert_allclose(found, X.astype(np.float32) @ dense @ dense)


def test_nodes_in_any_order(tmp_path: Path) -> None:
    text = '<ir_version: 8, opset_import: ["" : 17]> g (float[N, 4] x) => (float[N, 4] y) { a = Relu(x)  y = Neg(a) }'
    model = onnx.parser.parse_model(text)
    first, second = model.graph.node
    swapped = [onnx.NodeProto.FromString(n.SerializeToString()) for n in (second, first)]
    del model.graph.node[:]
    model.graph.node.extend(swapped)
    assert [node.op_type for node in imported(model, tmp_path).model.graph] == ["Relu", "Neg"]


def test_nodes_of_one_name_and_none(tmp_path: Path) -> None:
    text = '<ir_version: 8, opset_import: ["" : 17]> g (float[N, 4] x) => (float[N, 4] y) { [n] a = Relu(x) [n] b = Neg(a) y = Abs(b) }'
    names = [node.name for node in imported(text, tmp_path).model.graph]
    assert len(set(names)) == 3 and names[0] == "n"


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("bij,bjk->bik", "bij,bjk->bik"),
        ("b i d, b j d -> b i j", "bid,bjd->bij"),
        ("BID,BJD->BIJ", "abc,adc->abd"),
        ("Ab,bC", "ab,bc->ac"),
        ("bA,bC", "ab,ac->bc"),
        ("...Ij,...jK->...IK", "...ab,...bc->...ac"),
        ("Ii->", "ab->"),
    ],
)
def test_einsum_in_small_letters(given: str, wanted: str) -> None:
    assert in_small_letters(given) == wanted
    generator = np.random.default_rng(0)
    sizes = {label: size for size, label in enumerate(sorted(set(given) - set(",->. ")), 2)}
    operands = [
        generator.standard_normal([sizes[c] for c in term if c.isalpha()])
        for term in given.partition("->")[0].split(",")
    ]
    np.testing.assert_allclose(np.einsum(wanted, *operands), np.einsum(given.replace(" ", ""), *operands))


@pytest.mark.parametrize(("flag", "count"), [(1, 2), (0, 0)])
def test_training_mode_is_said(flag: int, count: int, tmp_path: Path) -> None:
    text = f"""<ir_version: 8, opset_import: ["" : 17]> g (float[N, 4] x) => (float[N, 4] y)
    <float[4] w = {{1, 1, 1, 1}}, float r = {{0.3}}, bool t = {{{flag}}}> {{
        [norm] a{", m, v" if flag else ""} = BatchNormalization <training_mode = {flag}> (x, w, w, w, w)  [drop] y = Dropout(a, r, t) }}"""
    notes = [note for note in imported(text, tmp_path).notes if "training mode" in note]
    assert notes == [] if not count else notes[0].startswith("2 nodes are in training mode (norm, drop)")


@pytest.mark.parametrize(("op", "gates", "states"), [("LSTM", 4, ["h0", "c0"]), ("GRU", 3, ["h0"]), ("RNN", 1, ["h0"])])
def test_recurrent_nets_that_count_samples_first_count_steps_first(
    op: str, gates: int, states: list[str], tmp_path: Path
) -> None:
    """No runtime has ``layout = 1``; the onnx package's reference has."""
    inputs = ", ".join(f"float[2, 1, 3] {name}" for name in states)
    text = f"""<ir_version: 8, opset_import: ["" : 17]>
        g (float[2, 5, 4] x, {inputs}) => (float[2, 5, 1, 3] y, float[2, 1, 3] h) {{
            [net] y, h = {op} <hidden_size = 3, layout = 1> (x, w, r, , , {", ".join(states)}) }}"""
    model = onnx.parser.parse_model(text)
    weights = {"w": normal(1, gates * 3, 4), "r": normal(1, gates * 3, 3)}
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in weights.items())
    feed = {"x": normal(2, 5, 4), **{name: normal(2, 1, 3) for name in states}}
    found = imported(model, tmp_path)
    with OnnxRuntimeEngine(ir.to_proto(found.model).SerializeToString()) as engine:
        answer = engine.infer(feed)
    y, h = ReferenceEvaluator(model).run(None, feed)
    np.testing.assert_allclose(answer["y"], y, atol=1e-5)
    np.testing.assert_allclose(answer["h"], h, atol=1e-5)
    assert any("counts steps first" in note for note in found.notes)


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)
