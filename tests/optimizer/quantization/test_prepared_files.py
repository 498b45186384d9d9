"""A prepared graph comes back from its folder such that the same quantized graphs are made of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from optimizer.quantization.codes.scheme import ONNXRUNTIME, TENSORRT, Scheme
from optimizer.quantization.corrections.fallback import Allowance
from optimizer.quantization.observing.calibrating import Calibrator
from optimizer.quantization.prepared_files import load_prepared, save_prepared
from optimizer.quantization.quantize import prepare
from optimizer.quantization.settings import QuantizeSettings
from tests.optimizer.quantization.models import (
    TWO_CONVOLUTIONS,
    TWO_CONVOLUTIONS_COSTS,
    normal,
    parse,
    two_convolutions_weights,
)

NOTHING = '<ir_version: 10, opset_import: ["" : 21]> g (float[n, 8] x) => (float[n, 8] y) { y = Relu (x) }'


def net() -> ir.Model:
    return parse(TWO_CONVOLUTIONS, two_convolutions_weights())


@pytest.mark.parametrize("scheme", (TENSORRT, ONNXRUNTIME), ids=lambda scheme: scheme.name)
def test_the_same_graphs_are_made_of_it(scheme: Scheme, tmp_path: Path) -> None:
    feeds = [{"x": normal(1, 8, 12, 12, seed=seed, scale=1.0)} for seed in range(48)]
    settings = QuantizeSettings(scheme=scheme, costs=TWO_CONVOLUTIONS_COSTS)
    made = prepare(net(), Calibrator(lambda: feeds, False, ("mse", "minmax")), settings, lambda _: None)
    made = replace(made, calibrated_noise=0.5)  # as of an update
    assert made.chosen is not None and made.chosen.roundings
    assert made.found or scheme is ONNXRUNTIME  # where the CPU's form is of use, nothing is measured
    save_prepared(made, tmp_path)
    read = load_prepared(tmp_path, made.judged)
    assert read.settings == made.settings
    for allowance in (Allowance(), Allowance(share=0.5), Allowance(target=1e-6, most=0.5)):
        assert read.kept_float(allowance) == made.kept_float(allowance)
        mine, theirs = made.quantized(allowance), read.quantized(allowance)
        assert (mine.plan, mine.table, mine.notes, mine.expected, mine.choices) == (
            theirs.plan,
            theirs.table,
            theirs.notes,
            theirs.expected,
            theirs.choices,
        )
        ours, others = (
            {name: value.const_value.numpy() for name, value in found.model.graph.initializers.items()}
            for found in (mine, theirs)
        )
        assert ours.keys() == others.keys() and all(np.array_equal(ours[name], others[name]) for name in ours)
        assert [node.op_type for node in mine.model.graph] == [node.op_type for node in theirs.model.graph]


def test_a_graph_in_which_nothing_can_be_quantized(tmp_path: Path) -> None:
    settings = QuantizeSettings()
    made = prepare(parse(NOTHING), Calibrator(list, False, ("mse",)), settings, lambda _: None)
    save_prepared(made, tmp_path)
    read = load_prepared(tmp_path, [])
    assert not read.quantizes and read.quantized(Allowance()).notes == made.quantized(Allowance()).notes
