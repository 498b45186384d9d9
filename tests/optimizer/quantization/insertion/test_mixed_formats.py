"""Some nodes of one graph in FP8, others in INT8, others in float: as a search or a plan says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_ir as ir
import pytest

from engines.targets.target import resolve_targets
from graphs.reading.macs import count_macs
from optimizer.precision import Dtype
from optimizer.quantization.codes.scheme import FP8
from optimizer.quantization.observing.calibrating import Calibrator
from optimizer.quantization.prepared import Prepared
from optimizer.quantization.quantize import prepare
from optimizer.quantization.settings import QuantizeSettings
from optimizer.search.costs import format_parts
from tests.optimizer.quantization.models import HEAD, normal, parse

FEEDS = [{"x": np.random.default_rng(seed).standard_t(3, (4, 64)).astype(np.float32)} for seed in range(12)]


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    """Three products; the tails of what the first reads are long."""
    model = parse(
        f"""{HEAD} g (float[4,64] x, float[64,64] w1, float[64,64] w2, float[64,32] w3) => (float[4,32] y) {{
            a = MatMul(x, w1)
            b = Relu(a)
            c = MatMul(b, w2)
            d = Relu(c)
            y = MatMul(d, w3)
        }}""",
        {"w1": normal(64, 64), "w2": normal(64, 64, seed=1), "w3": normal(64, 32, seed=2)},
    )
    for node in model.graph:
        node.name = str(node.outputs[0].name)
    costs = {name: cost.macs for name, cost in count_macs(model, {"x": (4, 64)}).items() if cost.macs}
    return prepare(
        model,
        Calibrator(lambda: FEEDS, batchable=False, methods=("minmax",)),
        QuantizeSettings(costs=costs),
        lambda _: None,
    )


def code_types(model: ir.Model) -> set[ir.DataType]:
    return {n.inputs[0].dtype for n in model.graph if n.op_type == "DequantizeLinear" and n.inputs[0] is not None}  # type: ignore[misc]


def test_every_product_is_measured_in_the_other_format(prepared: Prepared) -> None:
    int8, fp8 = prepared.sensitivities(), prepared.sensitivities_in(FP8)
    assert [item.node for item in fp8] == [item.node for item in int8] == ["a", "c", "y"]
    assert all(item.noise > 0 for item in fp8) and fp8[0].noise != pytest.approx(int8[0].noise)


def test_formats_are_measured_in_the_units_of_what_was_judged_whenever_int8_was_measured(prepared: Prepared) -> None:
    judged = replace(prepared, chosen=replace(prepared.chosen, noise=1e-3))
    for found in (judged.found, judged.found[:1], ()):  # where ops are missing, all are measured again
        some = replace(judged, found=tuple(found))
        int8, fp8 = some.sensitivities(), some.sensitivities_in(FP8)
        assert sum(item.noise for item in int8) == pytest.approx(1e-3)
        raw = sum(item.noise for item in prepared.sensitivities_in(FP8)) / sum(item.noise for item in prepared.found)
        assert sum(item.noise for item in fp8) / 1e-3 == pytest.approx(raw, rel=0.3)  # measured on other samples


def test_a_graph_has_nodes_in_three_precisions(prepared: Prepared) -> None:
    mixed = prepared.leaving_out({"c"}, "for the budget", {"a": FP8})
    assert [mixed.plan.nodes[name].dtype for name in "acy"] == [Dtype.FP8, Dtype.FP16, Dtype.INT8]
    assert all("for the budget" in mixed.plan.nodes[name].reason for name in "ac")
    assert code_types(mixed.model) >= {ir.DataType.FLOAT8E4M3FN, ir.DataType.INT8}
    assert prepared.judge is not None
    noise, _ = prepared.judge.noise_of(mixed.model, FEEDS[:2])
    assert noise is not None and 0 < noise < 0.02


@pytest.mark.parametrize(("targets", "offered"), [(["l4"], True), (["l4", "t4"], False)])
def test_a_mix_has_fp8_only_where_every_target_has_it(prepared: Prepared, targets: list[str], offered: bool) -> None:
    parts = format_parts(prepared.model, resolve_targets(targets))
    assert (Dtype.FP8 in parts) is offered
    assert not offered or all(0 < part < 0.1 for part in parts[Dtype.FP8].values())
