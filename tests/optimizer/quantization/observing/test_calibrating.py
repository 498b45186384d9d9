"""Passes over the calibration data: how many there are, and what of them serves again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from engines.engine import Feed
from graphs.reading.number_types import SIGNED
from optimizer.quantization.codes.scheme import TENSORRT, ActivationScheme, for_this_cpu
from optimizer.quantization.corrections.equalization import Decisions
from optimizer.quantization.corrections.transforms import identity
from optimizer.quantization.observing.calibrating import Calibrator, Known
from tests.optimizer.quantization.models import normal, parse

TEXT = """<ir_version: 10, opset_import: ["" : 21]> g (float[1,3,5] x, float[5,4] w) => (float[1,3,4] y)
{ a = Relu(x) y = MatMul(a, w) }"""


def calibrator(known: Known, passes: list[int]) -> Calibrator:
    def samples() -> list[Feed]:
        passes.append(1)
        return [{"x": normal(1, 3, 5, seed=seed, scale=2.0)} for seed in range(3)]

    return Calibrator(samples, batchable=False, methods=("minmax",), known=known)


def model() -> ir.Model:
    return parse(TEXT, {"w": normal(5, 4)})


def test_ends_of_channels_serve_both_forms() -> None:
    known, passes, graph = Known(), list[int](), model()
    first = calibrator(known, passes).extremes(graph.clone(), {"a": -1})
    again = calibrator(known, passes).extremes(graph.clone(), {"a": -1})
    assert len(passes) == 1
    low, high = first["a"]
    values = np.concatenate([np.maximum(normal(1, 3, 5, seed=seed, scale=2.0), 0) for seed in range(3)])
    np.testing.assert_array_equal(low, values.min(axis=(0, 1)))
    np.testing.assert_array_equal(high, again["a"][1])


def test_a_changed_graph_is_looked_at_anew() -> None:
    known, passes, graph = Known(), list[int](), model()
    calibrator(known, passes).extremes(graph, {"a": -1})
    changed = graph.clone()
    changed.graph.initializers["w"].const_value = ir.Tensor(normal(5, 4, seed=9), name="w")
    calibrator(known, passes).extremes(changed, {"a": -1})
    calibrator(known, passes).extremes(graph, {"a": 1})
    assert len(passes) == 3


def test_where_samples_end_is_kept_only_where_it_is_asked_for() -> None:
    tables, reached = calibrator(Known(), []).tables(model(), {"a": SIGNED})
    again, asked = calibrator(Known(), []).tables(model(), {"a": SIGNED}, reaching=True)
    assert not reached and tables == again
    highs = [max(float(normal(1, 3, 5, seed=seed, scale=2.0).max()), 0.0) for seed in range(3)]
    np.testing.assert_array_equal(asked["a"].ends[:, 1], highs)


def test_what_pays_at_channels_is_looked_for_once_for_all_schemes_that_are_expected() -> None:
    known, asked, graph = Known(), list[list[str]](), model()
    schemes = {"tensorrt": TENSORRT.static, "cpu": for_this_cpu().static}
    names = {scheme: name for name, scheme in schemes.items()}

    def decide(several: Sequence[ActivationScheme]) -> list[Decisions]:
        asked.append([names[scheme] for scheme in several])
        return [{names[scheme]: (identity(5), "")} for scheme in several]

    known.expect(schemes.values())
    found = [known.decisions(graph.clone(), scheme, decide) for scheme in schemes.values()]
    assert asked == [["tensorrt", "cpu"]]
    assert [list(one) for one in found] == [["tensorrt"], ["cpu"]]
