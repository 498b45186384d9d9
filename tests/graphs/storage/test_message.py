"""A model written piece by piece is the message that protobuf serializes at once."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from graphs.storage.message import LARGE, write_message
from graphs.storage.saving import save_model, serialized

TEXT = """<ir_version: 10, opset_import: ["" : 21, "local" : 1], producer_name: "a tool", doc_string: "what it is">
g (float[n, 256] x, bool c) => (float[n, 256] y) {
    a = MatMul(x, w)
    b = If (c) <then_branch = t () => (float[n, 256] r) { r = Identity(a) },
                else_branch = e () => (float[n, 256] r) { r = Neg(a) }>
    d = local.twice(b)
    y = Mul(d, small)
}
<domain: "local", opset_import: ["" : 21]> twice (p) => (q) { q = Add(p, p) }"""


def net() -> ir.Model:
    model = ir.from_onnx_text(TEXT)
    rng = np.random.default_rng(0)
    codes = rng.integers(-8, 8, (300, 513)).astype(ir.DataType.INT4.numpy())
    tensors = {
        "w": ir.Tensor(rng.normal(size=(256, 256)).astype(np.float32), doc_string="its weight"),
        "small": ir.Tensor(np.float32([0.5])),
        "half": ir.Tensor(rng.normal(size=50_000).astype(np.float16)),
        "odd": ir.Tensor(codes),
        "text": ir.StringTensor(np.array([b"a" * LARGE, b"b"], object)),
        "lazy": ir.LazyTensor(
            lambda: ir.Tensor(np.arange(LARGE, dtype=np.int8)), dtype=ir.DataType.INT8, shape=ir.Shape([LARGE])
        ),
    }
    read = {value.name: value for node in model.graph for value in node.inputs if value is not None}
    for name, tensor in tensors.items():
        tensor.name = name
        value = read.get(name) or ir.Value(name=name)
        value.const_value = tensor
        model.graph.initializers[name] = value
    tensors["w"].metadata_props["from"] = "a test"
    model.graph.metadata_props["kept"] = "here"
    model.metadata_props["kept"] = "too"
    return model


def test_the_bytes_are_those_of_protobuf(tmp_path: Path) -> None:
    model, written = net(), io.BytesIO()
    held = {name: value.const_value for name, value in model.graph.initializers.items()}
    write_message(model, written)
    same = written.getvalue() == serialized(model)  # too long to be shown
    assert same
    assert {name: value.const_value for name, value in model.graph.initializers.items()} == held
    assert save_model(model, tmp_path / "m.onnx") == [tmp_path / "m.onnx"]
    assert (tmp_path / "m.onnx").read_bytes() == written.getvalue()
    read = ir.load(tmp_path / "m.onnx")
    np.testing.assert_array_equal(read.graph.initializers["odd"].const_value.numpy(), held["odd"].numpy())


def test_a_model_without_large_weights() -> None:
    model, written = ir.from_onnx_text('<ir_version: 10, opset_import: ["" : 21]> g () => () { }'), io.BytesIO()
    write_message(model, written)
    assert written.getvalue() == serialized(model)
    onnx.load_from_string(written.getvalue())


def test_a_weight_that_is_not_as_large_as_it_says_is_an_error() -> None:
    model = net()
    model.graph.initializers["lazy"].const_value = ir.LazyTensor(
        lambda: ir.Tensor(np.zeros(3, np.int8)), dtype=ir.DataType.INT8, shape=ir.Shape([LARGE]), name="lazy"
    )
    with pytest.raises(ValueError, match="'lazy' is of 3 bytes"):
        write_message(model, io.BytesIO())
