"""A graph with other weights is told from another graph, and takes the names that are known."""

from __future__ import annotations

import re

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from graphs.errors import BadInput
from graphs.reading.structure import Structure
from graphs.writing.known_names import check_inputs, matched

NET = """
<ir_version: 10, opset_import: ["" : 21]>
g (float[n, 4, 8, 8] x) => (float[n, m] y)
  <float[8, 4, 3, 3] w, float[8] b, int64[2] shape = {0, -1}> {
  a = Conv (x, w, b)
  r = Relu (a)
  y = Reshape (r, shape)
}
"""
OTHER_NAMES = {"w": "b", "b": "w", "a": "r", "r": "a", "n": "batch", "m": "k"}
RENAMED = re.sub(rf"\b[{''.join(OTHER_NAMES)}]\b", lambda name: OTHER_NAMES[name[0]], NET)


def parse(text: str, seed: int = 0) -> ir.Model:
    model = onnx.parser.parse_model(text)
    rng = np.random.default_rng(seed)
    for info in model.graph.value_info:
        kind = info.type.tensor_type
        if kind.elem_type == onnx.TensorProto.FLOAT:
            values = rng.standard_normal([d.dim_value for d in kind.shape.dim]).astype(np.float32)
            model.graph.initializer.append(onnx.numpy_helper.from_array(values, info.name))
    for number, node in enumerate(model.graph.node):
        node.name = f"node{number}"
    return ir.from_proto(model)


def test_other_weights_are_the_same_graph() -> None:
    weight_is_output = NET.replace("[n, m] y)", "[n, m] y, float[8] b)")
    for text in (NET, weight_is_output):
        assert not matched(Structure.of(parse(text)), parse(text, seed=1), "new.onnx")


def test_names_that_differ_are_found_by_their_place_and_taken_over() -> None:
    known, new = Structure.of(parse(NET)), parse(RENAMED)
    for node in new.graph:
        node.name = f"other/{node.op_type}"
    weights = {name: new.graph.initializers[name].const_value for name in ("w", "b")}
    names = matched(known, new, "new.onnx")
    assert names.values == {"b": "w", "w": "b", "r": "a", "a": "r"}
    names.apply(new)
    assert Structure.of(new) == known
    taken = new.graph.initializers["w"].const_value
    assert taken is not None and np.array_equal(taken.numpy(), weights["b"].numpy())  # type: ignore[union-attr]
    onnx.checker.check_model(ir.to_proto(new), full_check=True)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("r = Relu (a)", "r = Sigmoid (a)", "node 'node1' is a Sigmoid"),
        ("r = Relu (a)", "r = Relu (x)", "node 'node1' reads or makes 'x'"),
        ("a = Conv (x, w, b)", "a = Conv <pads = [1, 1, 1, 1]> (x, w, b)", "node 'node0' has another 'pads'"),
        ("a = Conv (x, w, b)", "a = Conv (x, w)", "node 'node0' has 2 inputs"),
        ("float[8, 4, 3, 3] w", "float[8, 4, 1, 1] w", "weight 'w' of node 'node0' is float 8x4x1x1"),
        ("shape = {0, -1}", "shape = {-1, 8}", "'shape', which node 'node2' reads, holds other int64 values"),
        ("x)", "z)", "there is no input 'x'"),
        ("float[n, 4, 8, 8] x)", "float[n, 4, 9, 8] x)", "input 'x' is float Nx4x9x8"),
        ("y = Reshape (r, shape)", "t = Reshape (r, shape) y = Relu (t)", "node 'node3' (Relu) has no counterpart"),
    ],
)
def test_the_first_difference_is_named(old: str, new: str, says: str) -> None:
    text = NET.replace(old, new)
    if old == "x)":
        text = text.replace("Conv (x", "Conv (z")
    with pytest.raises(BadInput, match="not the bundle's model with other weights") as error:
        matched(Structure.of(parse(NET)), parse(text), "new.onnx")
    assert says in str(error.value) and "new.onnx" in str(error.value)


def test_a_node_more_or_less_is_named() -> None:
    longer = NET.replace("y = Reshape (r, shape)", "y = Reshape (r, shape) z = Relu (y)")
    with pytest.raises(BadInput, match="node 'node3' \\(Relu\\) has no counterpart"):
        matched(Structure.of(parse(NET)), parse(longer), "new.onnx")
    with pytest.raises(BadInput, match="there is no node 'node3' \\(Relu\\)"):
        matched(Structure.of(parse(longer)), parse(NET), "new.onnx")


def test_two_weights_do_not_become_one() -> None:
    two = NET.replace("float[8] b", "float[8] b, float[8] c").replace("r = Relu (a)", "r = PRelu (a, c)")
    one = NET.replace("r = Relu (a)", "r = PRelu (a, b)")
    with pytest.raises(BadInput, match="node 'node1' reads or makes 'b'"):
        matched(Structure.of(parse(two)), parse(one), "new.onnx")


def test_a_body_counts_but_for_its_weights() -> None:
    text = """
    <ir_version: 10, opset_import: ["" : 21]>
    g (bool c, float[4] x) => (float[4] y) {
      y = If (c) <
        then_branch = t () => (float[4] u) { k = Constant <value = float {VALUE}> () u = OP (x, k) },
        else_branch = e () => (float[4] v) { v = Identity (x) }
      >
    }
    """
    known = Structure.of(parse(text.replace("VALUE", "2.0").replace("OP", "Mul")))
    assert not matched(known, parse(text.replace("VALUE", "3.0").replace("OP", "Mul")), "new.onnx")
    with pytest.raises(BadInput, match="has another 'then_branch'"):
        matched(known, parse(text.replace("VALUE", "2.0").replace("OP", "Add")), "new.onnx")


def test_an_axis_without_a_size_may_be_any_before_cleaning() -> None:
    known = Structure.of(parse(NET.replace("float[n, 4", "float[1, 4")))
    check_inputs(known, parse(NET), "new.onnx")
    with pytest.raises(BadInput, match="input 'x' is float Nx4x9x8"):
        check_inputs(known, parse(NET.replace("4, 8, 8] x", "4, 9, 8] x")), "new.onnx")
