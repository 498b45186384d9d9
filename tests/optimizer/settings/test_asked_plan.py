"""A plan that is given: how it is read, what of it fits a model, and how what became of it is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from graphs.errors import BadInput
from graphs.files import write_json
from optimizer.precision import Dtype, NodePrecision, PrecisionPlan
from optimizer.settings.asked_plan import AskedNode, AskedPlan, asked_plan
from optimizer.settings.call import call_text
from optimizer.settings.job import Settings

PLAN = PrecisionPlan(
    {
        "conv": NodePrecision(Dtype.INT8, "rule 3", "Conv", 100, 40.0),
        "relu": NodePrecision(Dtype.FP16, "rule 5", "Relu"),
        "exp": NodePrecision(Dtype.FP32, "may overflow FP16", "Exp"),
    },
    ["a note"],
)


def test_a_bundles_plan_is_read_from_its_file_and_from_its_folder(tmp_path: Path) -> None:
    write_json(tmp_path / "precision.json", PLAN)
    found = AskedPlan.from_file(tmp_path / "precision.json")
    assert found == AskedPlan.from_file(tmp_path) == AskedPlan.of_plan(PLAN) == asked_plan(str(tmp_path))
    assert found.nodes["conv"] == AskedNode(Dtype.INT8, "Conv")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"nodes": {"conv": "fp61", "b": {"dtype": 3}}}', "'conv' in 'fp61', 'b' in '3'"),
        ('{"nodes": {"conv": {"type": "fp16"}}}', "'conv' in ''"),
        ('{"nodes": {}}', "names no nodes"),
        ('{"conv": "fp16"}', "nodes"),
        ("[]", "not a valid plan"),
        ("conv: fp16", "not a valid plan"),
    ],
)
def test_what_is_no_plan_is_refused_by_name(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(BadInput, match=r"plan\.json") as error:
        AskedPlan.from_file(tmp_path / "plan.json")
    assert says in str(error.value) and "expected" in str(error.value)


def test_a_plan_of_another_model_is_refused_and_one_that_fits_in_part_is_not() -> None:
    asked = AskedPlan.of({"conv": {"dtype": "fp16", "op_type": "Conv"}, "gone": "int8"})
    asked.check_fits({"conv": "Conv", "new": "Relu"})
    for other in ({"conv": "Gemm"}, {"new": "Relu"}):
        with pytest.raises(BadInput, match="of another model: none of its 2 nodes"):
            asked.check_fits(other)


def test_what_did_not_come_true_is_listed_with_its_reason() -> None:
    asked = AskedPlan.of(
        {"conv": "int8", "relu": "int8", "exp": "fp16", "gone": "fp16", "was": "fp16"}
        | {"flat": {"dtype": "fp16", "op_type": "Flatten"}}
    )
    nodes = {**PLAN.nodes, "flat": NodePrecision(Dtype.FP16, "", "Reshape"), "was": NodePrecision(Dtype.BF16, "")}
    found = asked.followed(PrecisionPlan(nodes), "model.onnx", halves=True)
    assert (found.nodes, found.followed) == (6, 1)
    assert found.refused == {
        "relu": "fp16, not int8: rule 5",
        "exp": "fp32, not fp16: may overflow FP16",
        "gone": "no such node",
        "flat": "is a Reshape here, a Flatten in the plan",
        "was": "bf16, not fp16: a graph has one half precision, --precision fp16 sets it",
    }
    assert "5 of 6 nodes are not as planned in model.onnx" in found.warning and "gone (no such node)" in found.warning
    assert not AskedPlan.of_plan(PLAN).followed(PLAN, "model.onnx", halves=True).warning


def test_a_warning_names_a_few_of_many() -> None:
    asked = AskedPlan.of({f"n{number}": "fp16" for number in range(2000)})
    warning = asked.followed(PLAN, "model.onnx", halves=True).warning
    assert "and 1995 more (no such node)" in warning and len(warning) < 200


def test_a_runtime_without_half_precision_is_not_blamed_for_it() -> None:
    plan = PrecisionPlan({name: NodePrecision(Dtype.FP32, "", node.op_type) for name, node in PLAN.nodes.items()})
    found = AskedPlan.of({"conv": "fp16", "relu": "bf16"}).followed(plan, "the CPU's graph", halves=False)
    assert not found.refused and "2 nodes planned in half precision" in found.notes[0]


@pytest.mark.parametrize(
    ("nodes", "usual", "high"),
    [
        ({"a": "bf16"}, Dtype.FP16, Dtype.FP16),
        ({"a": "bf16", "b": "bf16"}, Dtype.FP16, Dtype.BF16),
        ({"a": "fp16"}, Dtype.FP32, Dtype.FP16),
        ({"a": "int8"}, Dtype.FP32, Dtype.FP32),
    ],
)
def test_the_half_precision_is_the_runs_but_where_the_plan_wants_another(
    nodes: dict[str, str], usual: Dtype, high: Dtype
) -> None:
    assert AskedPlan.of(nodes).high_dtype(usual, 3) is high


def test_settings_are_another_job_with_another_plan_and_not_with_another_file_name() -> None:
    plans = [AskedPlan.of({"conv": word}, file) for word, file in (("fp16", "a"), ("fp16", "b"), ("fp32", "a"))]
    first, renamed, other = (Settings(plan=plan).digest("plan") for plan in plans)
    assert first == renamed != other and len({first, other, Settings().digest("plan")}) == 3
    assert "plan='a'" in call_text(Path("m.onnx"), Settings(plan=plans[0]), Path("out"))
    assert call_text(Path("m.onnx"), Settings(plan=AskedPlan.of({"conv": "fp16"})), Path("out")) == ""
