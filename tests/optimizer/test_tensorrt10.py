"""What parsers of TensorRT 10.0 to 10.8 do not read is written otherwise, and means the same."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from engines.errors import BuildError
from optimizer.equivalence import compare_graphs
from optimizer.tensorrt10 import for_older_parsers

CASES = {
    "Pad": (
        "float[1,4,6,6] x",
        "float[1,4,8,7] y",
        "<int64[2] a = {2,-1}, int64[4] p = {1,0,1,1}> { y = Pad(x, p, , a) }",
    ),
    "GroupNormalization": (
        "float[2,4,3,5] x",
        "float[2,4,3,5] y",
        "<float[4] s = {1,2,3,-1}, float[4] b = {0.5,0,1,2}> { y = GroupNormalization<num_groups = 2>(x, s, b) }",
    ),
    "GridSample": (
        "float[1,2,6,6] x, float[1,3,3,2] grid",
        "float[1,2,3,3] y",
        '{ y = GridSample<mode = "linear">(x, grid) }',
    ),
    "ScatterND": (
        "float[4,3] x, float[1,3] u",
        "float[4,3] y",
        '<int64[1,1] i = {2}> { y = ScatterND<reduction = "none">(x, i, u) }',
    ),
    "Einsum": (
        "float[2,5,3,4] x, float[2,5,4,6] w",
        "float[2,5,3,6] y",
        '{ y = Einsum<equation = "...ij,...jk->...ik">(x, w) }',
    ),
}


def model_of(inputs: str, outputs: str, body: str) -> ir.Model:
    text = f'<ir_version: 10, opset_import: ["" : 21]> g ({inputs}) => ({outputs}) {body}'
    return ir.from_proto(onnx.parser.parse_model(text))


@pytest.mark.parametrize("op_type", CASES)
def test_it_is_written_as_they_read_it(op_type: str) -> None:
    model = model_of(*CASES[op_type])
    rng = np.random.default_rng(0)
    feed = {
        str(value.name): rng.uniform(-1, 1, [int(size) for size in value.shape or ()]).astype(np.float32)
        for value in model.graph.inputs
    }
    written, notes = for_older_parsers(model)
    assert notes == [f"1 {op_type} written as parsers before 10.9 read it"]
    assert compare_graphs(model, written, [feed]).same
    nodes = {node.op_type: node for node in written.graph}
    assert len(nodes["Pad"].inputs) <= 3 if "Pad" in nodes else True
    assert "GroupNormalization" not in nodes
    assert not {"mode", "reduction"} & {name for node in nodes.values() for name in node.attributes}
    assert all("..." not in node.attributes.get_string("equation", "") for node in nodes.values())


def test_half_precision_stays_half() -> None:
    inputs, outputs = "float16[2,4,3,5] x, float16[4] s, float16[4] b", "float16[2,4,3,5] y"
    model = model_of(inputs, outputs, "{ y = GroupNormalization<num_groups = 2>(x, s, b) }")
    written, _ = for_older_parsers(model)
    assert {value.dtype for node in written.graph for value in node.outputs} <= {ir.DataType.FLOAT16, ir.DataType.INT64}


def test_what_would_be_misread_is_refused_by_name() -> None:
    inputs, outputs, _ = CASES["GridSample"]
    model = model_of(inputs, outputs, '{ [bent] y = GridSample<mode = "cubic">(x, grid) }')
    with pytest.raises(BuildError, match="cubic GridSample") as raised:
        for_older_parsers(model)
    assert raised.value.where == "bent"


def test_other_graphs_are_left_alone() -> None:
    _, notes = for_older_parsers(model_of("float[2,3] x", "float[2,3] y", "{ y = Relu(x) }"))
    assert notes == []
