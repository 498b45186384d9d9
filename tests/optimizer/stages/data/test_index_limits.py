"""Integers that index something: which values are safe, and which sample holds others."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from calibration.sources.open import open_source
from engines.engine import TensorSpec
from graphs.errors import BadInput
from optimizer.stages.data.index_limits import index_limits, integer_bounds, size_inputs

TABLE = np.zeros((50, 4), np.float32)


def model(text, **weights):
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> g {text}')
    weights = {"table": TABLE, **weights}
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(w, name) for name, w in weights.items())
    return ir.from_proto(proto)


@pytest.mark.parametrize(
    ("text", "bounds", "limits"),
    [
        ("(int64[N] ids) => (float[N,4] y) { y = Gather(table, ids) }", {"ids": 50}, {"ids": 50}),
        (
            """(int32[N,T] ids) => (float[A,4] y) <int64[1] flat = {-1}> {
            a = Cast<to = 7>(ids) b = Reshape(a, flat) y = Gather(table, b) }""",
            {"ids": 50},
            {"ids": 50},
        ),
        (
            "(int64[N] ids) => (float[N,4] y) <int64[1] two = {2}> { a = Add(ids, two) y = Gather(table, a) }",
            {"ids": 48},
            {"ids": 48},
        ),
        (
            """(int64[N] ids) => (float[A,4] y) <int64[1] zero = {0}, int64[1] one = {1}> {
            a = Slice(ids, zero, one) y = Gather(table, a) }""",
            {"ids": 50},
            {},
        ),
        (
            "(int64[N] ids) => (int64[N,7] y) <int64 depth = {7}, int64[2] v = {0, 1}> { y = OneHot(ids, depth, v) }",
            {"ids": 7},
            {},
        ),
        ("(float[N] x) => (float[N] y) { y = Relu(x) }", {}, {}),
    ],
)
def test_bounds_follow_the_values(text, bounds, limits):
    graph = model(text)
    assert (integer_bounds(graph), index_limits(graph)) == (bounds, limits)


def test_a_value_outside_is_named_by_sample_and_input(tmp_path):
    ids = np.arange(12).reshape(4, 3)
    ids[2, 1] = 64
    np.savez(tmp_path / "d.npz", ids=ids)
    spec = TensorSpec("ids", "int64", ("N", 3), True)
    source = open_source(tmp_path / "d.npz", [spec], index_limits={"ids": 50})
    with pytest.raises(BadInput, match=r"d\.npz, sample 2: 'ids' holds 64 at \[0, 1\], outside the 50 entries"):
        list(source.samples())
    assert len(list(open_source(tmp_path / "d.npz", [spec], index_limits={"ids": 65}).samples())) == 4


def test_inputs_that_are_sizes_are_found_and_fed_with_ones():
    graph = model("(float[2,4] x, int64[3] shape, int64[2] other) => (float[a,b,c] y) { y = Expand(x, shape) }")
    assert size_inputs(graph) == {"shape"}
    specs = (TensorSpec("x", "float32", (2, 4)), TensorSpec("shape", "int64", (3,)))
    (sample,) = open_source("random", specs, samples=1, sizes={"shape"}).samples()
    assert sample["shape"].tolist() == [1, 1, 1]
