"""What import takes, what it refuses and how it says so."""
# ruff: noqa: E501 (models as text)

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from graphs.errors import BadInput
from graphs.storage.saving import save_model
from graphs.storage.stored import stored
from optimizer.importing import import_model


def linear(*, opset: int = 13, external: str | None = None, size: int = 4096) -> onnx.ModelProto:
    """y = x W with W [64, 64]; W in external data at ``external`` when given."""
    weight = numpy_helper.from_array(np.arange(4096, dtype=np.float32).reshape(64, 64), "W")
    if external is not None:
        weight.ClearField("raw_data")
        weight.data_location = TensorProto.EXTERNAL
        for key, value in (("location", external), ("offset", "0"), ("length", str(size * 4))):
            weight.external_data.add(key=key, value=value)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "W"], ["y"])],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 64])],
        [weight],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def write(path: Path, model: onnx.ModelProto) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


def from_text(path: Path, text: str) -> Path:
    return write(path, onnx.parser.parse_model(text))


def outputs(model: ir.Model, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
    session = ort.InferenceSession(ir.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(None, feed))


def test_counts_parameters_and_raises_the_opset(tmp_path: Path) -> None:
    imported = import_model(write(tmp_path / "m.onnx", linear()))
    assert imported.parameters == 4096
    assert imported.model.opset_imports[""] == 21
    assert imported.model.ir_version >= 10
    assert any("opset 13 converted to 21" in note for note in imported.notes)


def test_digest_covers_file_and_external_data(tmp_path: Path) -> None:
    path = write(tmp_path / "m.onnx", linear(external="w.bin"))
    (tmp_path / "w.bin").write_bytes(bytes(16384))
    first = import_model(path).digest
    (tmp_path / "w.bin").write_bytes(bytes(16383) + b"\1")
    assert import_model(path).digest != first


def test_external_weights_stay_mapped(tmp_path: Path) -> None:
    path = write(tmp_path / "m.onnx", linear(opset=12, external="w.bin"))
    (tmp_path / "w.bin").write_bytes(np.arange(4096, dtype=np.float32).tobytes())
    imported = import_model(path)
    tensor = imported.model.graph.initializers["W"].const_value
    assert isinstance(tensor, ir.ExternalTensor)
    assert tensor.raw is None, "import must not open the data"
    assert imported.bytes == path.stat().st_size + 16384
    np.testing.assert_array_equal(tensor.numpy(), np.arange(4096, dtype=np.float32).reshape(64, 64))


def test_small_external_tensors_are_read(tmp_path: Path) -> None:
    """Inference needs to see a Reshape's shape wherever it is stored."""
    text = """<ir_version: 8, opset_import: ["" : 17]>
    g (float[2, 8] x) => (float[M, N] y) <int64[2] s = {4, 4}> { y = Reshape(x, s) }"""
    model = onnx.parser.parse_model(text)
    shape = model.graph.initializer[0]
    shape.CopyFrom(numpy_helper.from_array(np.array([4, 4]), "s"))
    (tmp_path / "s.bin").write_bytes(shape.raw_data)
    shape.ClearField("raw_data")
    shape.data_location = TensorProto.EXTERNAL
    shape.external_data.add(key="location", value="s.bin")
    imported = import_model(write(tmp_path / "m.onnx", model))
    assert not isinstance(imported.model.graph.initializers["s"].const_value, ir.ExternalTensor)
    assert imported.bytes == (tmp_path / "m.onnx").stat().st_size + 16


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "empty"), (b"\x89PNG\r\n\x1a\n" + bytes(64), "ONNX"), (b"not a model", "ONNX")],
)
def test_refuses_what_is_no_model(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=reason):
        import_model(path)


def test_refuses_a_truncated_file(tmp_path: Path) -> None:
    path = write(tmp_path / "m.onnx", linear())
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(BadInput, match=r"truncated|malformed|no graph|not a valid"):
        import_model(path)


def test_refuses_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read"):
        import_model(tmp_path / "none.onnx")
    with pytest.raises(BadInput, match="folder"):
        import_model(tmp_path)


def outside(tensor: TensorProto, folder: Path, location: str) -> None:
    """Move the values of ``tensor`` to ``location``, which is relative to ``folder``."""
    (folder / location).write_bytes(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)


def constant_node() -> onnx.NodeProto:
    weight = numpy_helper.from_array(np.arange(4096, dtype=np.float32).reshape(64, 64) / 4096, "W")
    return helper.make_node("Constant", [], ["W"], value=weight)


def calling_twice(body: onnx.NodeProto) -> onnx.ModelProto:
    """y = (x W) W, where the product is a function with W inside."""
    model = linear()
    product = helper.make_node("MatMul", ["a", "W"], ["b"])
    opsets = list(model.opset_import)
    model.functions.append(helper.make_function("own", "product", ["a"], ["b"], [body, product], opsets))
    model.opset_import.append(helper.make_opsetid("own", 1))
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(
        helper.make_node("product", [x], [y], domain="own") for x, y in (("x", "between"), ("between", "y"))
    )
    return model


def test_a_constant_node_may_lie_in_a_file(tmp_path: Path) -> None:
    """Wherever the command is run: the checker and every later file look for it beside themselves."""
    model = linear()
    del model.graph.initializer[:]
    model.graph.node.insert(0, constant_node())
    outside(model.graph.node[0].attribute[0].t, tmp_path, "w.bin")
    imported = import_model(write(tmp_path / "m.onnx", model))
    assert imported.parameters == 4096
    (tmp_path / "elsewhere").mkdir()
    written = save_model(imported.model, tmp_path / "elsewhere" / "m.onnx", single_file_bytes=1000)
    engine = ort.InferenceSession(written[0], providers=["CPUExecutionProvider"])
    expected = np.arange(4096, dtype=np.float32).reshape(64, 64) / 4096
    np.testing.assert_array_equal(engine.run(None, {"x": np.eye(64, dtype=np.float32)})[0], expected)


def test_a_function_may_keep_its_weight_in_a_file(tmp_path: Path) -> None:
    model = calling_twice(constant_node())
    outside(model.functions[0].node[0].attribute[0].t, tmp_path, "w.bin")
    imported = import_model(write(tmp_path / "m.onnx", model))
    weight = np.arange(4096, dtype=np.float32).reshape(64, 64) / 4096
    with stored(imported.model) as path:
        engine = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
        found = engine.run(None, {"x": np.eye(64, dtype=np.float32)})[0]
    np.testing.assert_allclose(found, weight @ weight, rtol=1e-5)


def test_functions_and_sparse_tensors_may_not_point_out_of_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    model = calling_twice(constant_node())
    outside(model.functions[0].node[0].attribute[0].t, folder, "../w.bin")
    with pytest.raises(BadInput, match=r"'W' points to '../w.bin', outside the model's folder"):
        import_model(write(folder / "m.onnx", model))
    model = linear()
    weight = model.graph.initializer.pop()
    outside(weight, folder, "../w.bin")
    indices = numpy_helper.from_array(np.arange(4096), "indices")
    model.graph.sparse_initializer.add(values=weight, indices=indices, dims=[64, 64])
    with pytest.raises(BadInput, match=r"'W' points to '../w.bin', outside the model's folder"):
        import_model(write(folder / "m.onnx", model))


@pytest.mark.parametrize("location", ["../w.bin", "/etc/passwd", "a/../../w.bin", "C:\\w.bin", "..\\w.bin", ""])
def test_refuses_external_data_outside_the_folder(tmp_path: Path, location: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "w.bin").write_bytes(bytes(16384))
    with pytest.raises(BadInput, match="'W'"):
        import_model(write(folder / "m.onnx", linear(external=location)))


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_refuses_links_out_of_the_folder(tmp_path: Path, link: object) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(bytes(16384))
    link(tmp_path / "secret", folder / "w.bin")  # type: ignore[operator]
    with pytest.raises(BadInput, match="link"):
        import_model(write(folder / "m.onnx", linear(external="w.bin")))


def test_names_tensor_and_file_of_missing_and_short_data(tmp_path: Path) -> None:
    path = write(tmp_path / "m.onnx", linear(external="w.bin"))
    with pytest.raises(BadInput, match=r"'W'.*'w.bin'.*does not exist"):
        import_model(path)
    (tmp_path / "w.bin").write_bytes(bytes(16383))
    with pytest.raises(BadInput, match="ends at byte 16384, but the file has 16383"):
        import_model(path)


def test_refuses_external_length_that_is_not_the_tensors(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(16384))
    with pytest.raises(BadInput, match="length 4096"):
        import_model(write(tmp_path / "m.onnx", linear(external="w.bin", size=1024)))


def test_refuses_weights_shorter_than_their_shape(tmp_path: Path) -> None:
    model = linear()
    model.graph.initializer[0].raw_data = bytes(100)
    with pytest.raises(BadInput, match="'W' holds 100 bytes"):
        import_model(write(tmp_path / "m.onnx", model))


def test_refuses_an_empty_graph_and_missing_outputs(tmp_path: Path) -> None:
    model = linear()
    del model.graph.node[:]
    with pytest.raises(BadInput, match="no nodes"):
        import_model(write(tmp_path / "a.onnx", model))
    model = linear()
    del model.graph.output[:]
    with pytest.raises(BadInput, match="no outputs"):
        import_model(write(tmp_path / "b.onnx", model))


def test_refuses_strings_and_sequences(tmp_path: Path) -> None:
    text = '<ir_version: 8, opset_import: ["" : 13]> g (string[N] x) => (string[N] y) { y = Identity(x) }'
    with pytest.raises(BadInput, match="input 'x' is of type string"):
        import_model(from_text(tmp_path / "a.onnx", text))
    text = '<ir_version: 8, opset_import: ["" : 13]> g (seq(float[N]) x) => (float[M] y) { y = ConcatFromSequence<axis=0>(x) }'
    with pytest.raises(BadInput, match="input 'x'"):
        import_model(from_text(tmp_path / "b.onnx", text))


def test_refuses_unknown_standard_operators_and_broken_wiring(tmp_path: Path) -> None:
    text = '<ir_version: 8, opset_import: ["" : 13]> g (float[N] x) => (float[N] y) { y = NoSuchOp(x) }'
    with pytest.raises(BadInput, match="NoSuchOp"):
        import_model(from_text(tmp_path / "a.onnx", text))
    text = '<ir_version: 8, opset_import: ["" : 13]> g (float[N] x) => (float[N] y) { y = Add(x, nowhere) }'
    with pytest.raises(BadInput):
        import_model(from_text(tmp_path / "b.onnx", text))


def test_refuses_a_future_opset(tmp_path: Path) -> None:
    model = linear()
    model.opset_import[0].version = 999
    with pytest.raises(BadInput, match="999"):
        import_model(write(tmp_path / "m.onnx", model))


def test_notes_foreign_domains_and_quantized_models(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]>
    g (float[2, 8] x) => (float[2, 8] z) <float s = {0.5}, int8 p = {0}> {
        q = QuantizeLinear(x, s, p)
        y = DequantizeLinear(q, s, p)
        z = com.microsoft.Inverse(y)
    }"""
    notes = import_model(from_text(tmp_path / "m.onnx", text)).notes
    assert any("com.microsoft.Inverse" in note and "ONNX Runtime only" in note for note in notes)
    assert any("comes quantized" in note for note in notes)


def test_inlines_functions_and_keeps_the_result(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["" : 17, "local" : 1]>
    g (float[2, 8] x) => (float[2, 8] y) { y = local.twice(x) }
    <domain: "local", opset_import: ["" : 17]> twice (a) => (b) { b = Add(a, a) }"""
    imported = import_model(from_text(tmp_path / "m.onnx", text))
    assert [node.op_type for node in imported.model.graph] == ["Add"]
    x = np.ones((2, 8), np.float32)
    np.testing.assert_array_equal(outputs(imported.model, {"x": x})[0], 2 * x)


def test_initializers_are_no_longer_inputs(tmp_path: Path) -> None:
    model = linear()
    model.graph.input.append(helper.make_tensor_value_info("W", TensorProto.FLOAT, [64, 64]))
    imported = import_model(write(tmp_path / "m.onnx", model))
    assert [value.name for value in imported.model.graph.inputs] == ["x"]
    assert any("constants now" in note for note in imported.notes)


def test_node_names_are_unique_and_stable(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["" : 17]>
    g (float[N] x) => (float[N] z) { [same] a = Relu(x) [same] b = Relu(a) c = Relu(b) z = Neg(c) }"""
    path = from_text(tmp_path / "m.onnx", text)
    names = [node.name for node in import_model(path).model.graph]
    assert names == ["same", "same_2", "Relu_c", "Neg_z"]
    assert names == [node.name for node in import_model(path).model.graph]


UPGRADES = {
    "reduce in a branch": """<ir_version: 8, opset_import: ["" : 13]>
    g (float[2, 8] x, bool c) => (float[2, 1] y) {
        y = If (c) <then_branch = t () => (float[2, 1] a) { a = ReduceMean<axes = [1]>(x) },
                    else_branch = e () => (float[2, 1] b) { b = ReduceMax<axes = [-1]>(x) }>
    }""",
    "split without sizes": """<ir_version: 8, opset_import: ["" : 13]>
    g (float[2, 8] x, bool c) => (float[2, 4] y) { a, b = Split<axis = 1>(x)  y = Sub(a, b) }""",
    "opset 9": """<ir_version: 6, opset_import: ["" : 9]>
    g (float[2, 8] x, bool c) => (float[2, 1] y) { a = Softmax<axis = 1>(x) y = ReduceSum<axes = [1], keepdims = 1>(a) }""",
    "opset 11": """<ir_version: 6, opset_import: ["" : 11]>
    g (float[2, 8] x, bool c) => (float[8] y) { a = ReduceL2<axes = [0]>(x) y = Squeeze<axes = [0]>(a) }""",
}


@pytest.mark.parametrize("name", UPGRADES)
def test_opset_conversion_keeps_the_result(tmp_path: Path, name: str) -> None:
    path = from_text(tmp_path / "m.onnx", UPGRADES[name])
    model = import_model(path).model
    assert model.opset_imports[""] == 21
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    x = np.random.default_rng(0).standard_normal((2, 8)).astype(np.float32)
    before = ort.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    for condition in (True, False):
        feed = {"x": x, "c": np.array(condition)}
        fed = {value.name: feed[value.name] for value in before.get_inputs()}
        np.testing.assert_allclose(outputs(model, fed)[0], before.run(None, fed)[0], rtol=1e-6)
