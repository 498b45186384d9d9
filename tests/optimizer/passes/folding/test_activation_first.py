"""An activation behind a Slice goes to the convolution before it, where it is fused; what others read stays."""

from __future__ import annotations

import numpy as np
import pytest

from optimizer.passes.clean import clean
from tests.optimizer.passes.models import ops, parse, run, weights

CAUSAL = """g (float[1,4,16] x, float[8,4,3] w{more}) => (float[1,8,16] y{also})
    <int64[1] s = {{0}}, int64[1] e = {{-2}}, int64[1] a = {{2}}, float zero = {{0}}, float six = {{6}}> {{
    c = Conv<pads = [2, 2]>(x, w) t = Slice(c, s, e, a) {rest} }}"""


@pytest.mark.parametrize("activation", ["Relu(t)", "Clip(t, zero, six)", "LeakyRelu<alpha = 0.1>(t)"])
def test_an_activation_goes_before_the_cut(activation: str) -> None:
    text = CAUSAL.format(more="", also="", rest=f"r = {activation} y = Neg(r)")
    model = parse(text, w=weights(8, 4, 3))
    feed = weights(1, 4, 16)
    plain = run(model, x=feed)
    clean(model)
    assert ops(model)[:3] == ["Conv", activation.split("(")[0].split("<")[0], "Slice"]
    np.testing.assert_array_equal(run(model, x=feed)[0], plain[0])


@pytest.mark.parametrize(
    ("more", "also", "rest"),
    [
        ("", "", "y = Relu(t)"),
        ("", ", float[1,8,16] t", "r = Relu(t) y = Neg(r)"),
        ("", "", "r = Relu(t) y = Mul(r, t)"),
        (", float top", "", "twice = Add(top, top) r = Clip(t, zero, twice) y = Neg(r)"),
    ],
    ids=["an output itself", "the cut is an output", "the cut is read twice", "a computed bound"],
)
def test_it_stays_where_its_place_matters(more: str, also: str, rest: str) -> None:
    model = parse(CAUSAL.format(more=more, also=also, rest=rest), w=weights(8, 4, 3))
    feed = {"x": weights(1, 4, 16)} | ({"top": np.asarray(3, np.float32)} if more else {})
    plain = run(model, **feed)
    clean(model)
    assert ops(model).index("Slice") < max(i for i, op in enumerate(ops(model)) if op in ("Relu", "Clip"))
    np.testing.assert_array_equal(run(model, **feed)[0], plain[0])


def test_most_of_a_result_is_not_computed_in_vain() -> None:
    text = CAUSAL.replace("e = {{-2}}", "e = {{3}}").replace("[1,8,16] y", "[1,8,3] y")
    model = parse(text.format(more="", also="", rest="r = Relu(t) y = Neg(r)"), w=weights(8, 4, 3))
    clean(model)
    assert ops(model)[:3] == ["Conv", "Slice", "Relu"]
