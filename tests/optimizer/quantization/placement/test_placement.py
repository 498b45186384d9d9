"""Each placement rule, on the smallest graph that shows it."""

# ruff: noqa: E501 (models as text)

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from optimizer.precision import Dtype
from optimizer.quantization.codes.scheme import TENSORRT
from optimizer.quantization.placement.insertion_points import Placement, Use
from optimizer.quantization.placement.place import candidates, place
from optimizer.quantization.rules.catalogue import Rule
from tests.optimizer.quantization.models import HEAD_19, conv_weight, normal, parse, residual_model, table


def placed(model, ranges=None, **keep) -> Placement:
    return place(model, scheme=TENSORRT, keep_float=keep, table=ranges)


def uses_of(placement: Placement) -> dict[str, tuple[Use, ...]]:
    return {point.tensor: point.uses for point in placement.activations}


def test_every_rule_has_a_number_a_title_and_a_reason() -> None:
    numbers = [rule.number for rule in Rule]
    assert numbers == sorted(set(numbers)) and all(rule.title and rule.why for rule in Rule)
    assert Rule.SMALL_OPS.reason("N is 1") == f"rule 11 ({Rule.SMALL_OPS.title}): N is 1"


def test_the_page_lists_every_rule() -> None:
    page = (Path(__file__).parents[4] / "docs/plan.md").read_text()
    assert all(f"| {rule.number} | {rule.title} | {rule.why} |" in page for rule in Rule)


def test_rule_3_data_and_weight_of_a_conv_are_quantized() -> None:
    placement = placed(residual_model())
    assert Use("a", 0) in uses_of(placement)["x"]
    assert ("w", 0) in {(weight.tensor, weight.axis) for weight in placement.weights}


def test_rule_5_no_point_between_conv_and_relu_or_add() -> None:
    assert not {"a", "b", "y", "out"} & set(uses_of(placed(residual_model())))


def test_rule_6_only_the_skip_input_of_a_residual_add_and_it_shares_the_pair() -> None:
    uses = uses_of(placed(residual_model()))["x"]
    assert Use("y", 1) in uses and Use("a", 0) in uses


def test_rule_6_with_a_projection_the_shallow_branch_is_quantized() -> None:
    points = uses_of(placed(residual_model("s")))
    assert points["s"] == (Use("y", 1),)
    assert "b" not in points


def test_rule_6_does_not_fire_when_the_conv_stays_float() -> None:
    assert Use("y", 1) not in uses_of(placed(residual_model(), b="asked for"))["x"]


def test_rule_13_adding_a_constant_is_not_a_join() -> None:
    model = parse(
        f"""{HEAD_19} g (float[1,16,8,8] x, float[16,16,1,1] p, float[1,16,1,1] c) => (float[1,16,8,8] out) {{
            a = Conv(x, p)
            y = Add(a, c)
            out = Conv(y, p)
        }}""",
        {"p": conv_weight(16, 16, 1), "c": normal(1, 16, 1, 1)},
    )
    assert set(uses_of(placed(model))) == {"x", "y"}


@pytest.mark.parametrize(
    ("op", "shape", "axis"),
    [
        ("MatMul(x, w)", (32, 64), 1),
        ("Gemm(x, w)", (32, 64), 1),
        ("Gemm <transB=1> (x, w)", (64, 32), 0),
    ],
)
def test_rule_2_weight_axis_of_products(op: str, shape: tuple[int, int], axis: int) -> None:
    dims = ",".join(map(str, shape))
    model = parse(
        f"{HEAD_19} g (float[4,32] x, float[{dims}] w) => (float[4,64] y) {{ y = {op} }}", {"w": normal(*shape)}
    )
    assert [weight.axis for weight in placed(model).weights] == [axis]


def test_rule_2_weight_axis_of_conv_transpose() -> None:
    model = parse(
        f"{HEAD_19} g (float[1,16,8,8] x, float[16,8,3,3] w) => (float[1,8,10,10] y) {{ y = ConvTranspose(x, w) }}",
        {"w": conv_weight(16, 8)},
    )
    assert placed(model).weights[0].axis == 1


@pytest.mark.parametrize("shape", [(32, 1), (8, 64), (32, 8)])
def test_rule_11_small_products_stay_in_high_precision(shape: tuple[int, int]) -> None:
    k, n = shape
    model = parse(
        f"{HEAD_19} g (float[4,{k}] x, float[{k},{n}] w) => (float[4,{n}] y) {{ y = MatMul(x, w) }}",
        {"w": normal(k, n)},
    )
    placement = placed(model)
    assert not placement.quantizes
    assert placement.plan.nodes["y"].dtype is Dtype.FP16
    assert "rule 11" in placement.plan.nodes["y"].reason


def test_rule_11_counts_the_implicit_product_of_a_1d_conv() -> None:
    model = parse(
        f"{HEAD_19} g (float[1,1,640] x, float[258,1,256] w) => (float[1,258,4] y) {{ y = Conv <strides=[128]> (x, w) }}",
        {"w": normal(258, 1, 256)},
    )
    assert placed(model).quantizes


def test_rule_10_products_of_two_computed_tensors_stay() -> None:
    model = parse(f"{HEAD_19} g (float[4,32,32] q, float[4,32,32] k) => (float[4,32,32] y) {{ y = MatMul(q, k) }}")
    placement = placed(model)
    assert not placement.quantizes and "rule 10" in placement.plan.nodes["y"].reason


def test_rule_7_max_pool_gets_no_pair_of_its_own_and_runs_in_int8() -> None:
    model = parse(
        f"""{HEAD_19} g (float[1,16,8,8] x, float[16,16,1,1] p) => (float[1,16,4,4] y) {{
            a = Conv(x, p)
            m = MaxPool <kernel_shape=[2,2], strides=[2,2]> (a)
            y = Conv(m, p)
        }}""",
        {"p": conv_weight(16, 16, 1)},
    )
    placement = placed(model)
    assert set(uses_of(placement)) == {"x", "m"}
    assert placement.plan.nodes["m"].dtype is Dtype.INT8


def concat_model():
    return parse(
        f"""{HEAD_19} g (float[1,8,8,8] a, float[1,8,8,8] b, float[16,16,1,1] p) => (float[1,16,8,8] y) {{
            c = Concat <axis=1> (a, b)
            y = Conv(c, p)
        }}""",
        {"p": conv_weight(16, 16, 1)},
    )


def test_rule_8_a_concat_of_alike_ranges_shares_one_scale() -> None:
    assert placed(concat_model(), table(a=1.0, b=2.0, c=2.0)).quantizes


def test_rule_8_guard_unlike_ranges_keep_the_reader_in_high_precision() -> None:
    placement = placed(concat_model(), table(a=440.0, b=2.5, c=440.0))
    assert not placement.quantizes
    assert "rule 8" in placement.plan.nodes["y"].reason


def test_candidates_name_the_branches_the_guard_will_ask_for() -> None:
    assert set(candidates(concat_model(), TENSORRT)) == {"a", "b", "c"}


def test_guard_a_sentinel_pad_is_not_quantized() -> None:
    model = parse(
        f"""{HEAD_19} g (float[1,16,8,8] x, int64[8] pads, float fill, float[16,16,1,1] w) => (float[1,16,9,9] y) {{
            p = Pad(x, pads, fill)
            y = Conv(p, w)
        }}""",
        {"w": conv_weight(16, 16, 1), "fill": np.array(-1e4, np.float32), "pads": np.array([0, 0, 0, 0, 0, 0, 1, 1])},
    )
    assert not placed(model, table(x=3.0, p=1e4)).quantizes
    assert placed(model, table(x=3.0, p=3.0)).quantizes


def test_a_range_that_is_not_finite_or_missing_keeps_float() -> None:
    for ranges in (table(), table(a=1.0, b=1.0, c=float("inf"))):
        placement = placed(concat_model(), ranges)
        assert not placement.quantizes
        assert "rule 15" in placement.plan.nodes["y"].reason


def test_keep_float_wins_and_its_reason_is_reported() -> None:
    placement = placed(residual_model(), a="too sensitive")
    assert placement.plan.nodes["a"].reason == "too sensitive"
    assert placement.plan.nodes["a"].dtype is Dtype.FP16


def test_a_weight_that_a_caller_can_override_is_not_constant() -> None:
    model = parse(f"{HEAD_19} g (float[1,16,8,8] x, float[16,16,1,1] w) => (float[1,16,8,8] y) {{ y = Conv(x, w) }}")
    placement = placed(model)
    assert not placement.quantizes and "not a constant" in placement.plan.nodes["y"].reason


def test_a_shared_weight_is_one_point_with_two_uses() -> None:
    model = parse(
        f"{HEAD_19} g (float[1,16,8,8] x, float[16,16,1,1] p) => (float[1,16,8,8] y) {{ a = Conv(x, p)  y = Conv(a, p) }}",
        {"p": conv_weight(16, 16, 1)},
    )
    (weight,) = placed(model).weights
    assert weight.uses == (Use("a", 1), Use("y", 1))


def test_control_flow_bodies_stay_in_high_precision() -> None:
    model = parse(
        f"""{HEAD_19} g (bool c, float[1,16,8,8] x, float[16,16,1,1] p) => (float[1,16,8,8] y) {{
            y = If (c) <
                then_branch = t () => (float[1,16,8,8] yt) {{ yt = Conv(x, p) }},
                else_branch = e () => (float[1,16,8,8] ye) {{ ye = Identity(x) }}
            >
        }}""",
        {"p": conv_weight(16, 16, 1)},
    )
    placement = placed(model)
    assert not placement.quantizes
    assert "control-flow" in placement.plan.nodes["yt"].reason
