"""Passes over the calibration data: how many there are, and what of them serves again."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from engines.engine import Feed
from optimizer.quantization.observing.calibrating import Calibrator, KnownEnds
from tests.optimizer.quantization.models import normal, parse

TEXT = """<ir_version: 10, opset_import: ["" : 21]> g (float[1,3,5] x, float[5,4] w) => (float[1,3,4] y)
{ a = Relu(x) y = MatMul(a, w) }"""


def calibrator(known: KnownEnds, passes: list[int]) -> Calibrator:
    def samples() -> list[Feed]:
        passes.append(1)
        return [{"x": normal(1, 3, 5, seed=seed, scale=2.0)} for seed in range(3)]

    return Calibrator(samples, batchable=False, methods=("minmax",), known=known)


def model() -> ir.Model:
    return parse(TEXT, {"w": normal(5, 4)})


def test_ends_of_channels_serve_both_forms() -> None:
    known, passes, graph = KnownEnds(), list[int](), model()
    first = calibrator(known, passes).extremes(graph.clone(), {"a": -1})
    again = calibrator(known, passes).extremes(graph.clone(), {"a": -1})
    assert len(passes) == 1
    low, high = first["a"]
    values = np.concatenate([np.maximum(normal(1, 3, 5, seed=seed, scale=2.0), 0) for seed in range(3)])
    np.testing.assert_array_equal(low, values.min(axis=(0, 1)))
    np.testing.assert_array_equal(high, again["a"][1])


def test_a_changed_graph_is_looked_at_anew() -> None:
    known, passes, graph = KnownEnds(), list[int](), model()
    calibrator(known, passes).extremes(graph, {"a": -1})
    changed = graph.clone()
    changed.graph.initializers["w"].const_value = ir.Tensor(normal(5, 4, seed=9), name="w")
    calibrator(known, passes).extremes(changed, {"a": -1})
    calibrator(known, passes).extremes(graph, {"a": 1})
    assert len(passes) == 3


def test_where_samples_end_is_kept_only_where_it_is_asked_for() -> None:
    tables, reached = calibrator(KnownEnds(), []).tables(model(), ["a"])
    again, asked = calibrator(KnownEnds(), []).tables(model(), ["a"], reaching=True)
    assert not reached and tables == again
    highs = [max(float(normal(1, 3, 5, seed=seed, scale=2.0).max()), 0.0) for seed in range(3)]
    np.testing.assert_array_equal(asked["a"].ends[:, 1], highs)
