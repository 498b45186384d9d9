"""``optimize explain``: what is known of each node, sorted, bounded, and one node in full."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import onnx
import onnx_ir as ir
import pytest
from rich.console import Console

from engines.engine import TensorSpec
from engines.manifest import EngineManifest
from engines.profile import ShapeProfile
from graphs.errors import BadInput
from graphs.files import write_json
from optimizer.attempt import STRICT
from optimizer.bundle import BundleManifest
from optimizer.cli.main import main
from optimizer.precision import Dtype, ErrorOrigin, NodePrecision, PrecisionPlan
from optimizer.verbs.explain import bundle as explaining
from optimizer.verbs.explain.bundle import Explanation, _neighbours, explain_bundle
from optimizer.verbs.explain.text import orders, render, render_node, rules, short
from tests.end_to_end.conftest import cnn

ORIGIN = ErrorOrigin("logits", 31.0, "second", "Conv", 30.0, 50.0, True, 4, 8, 8)
NODES = {
    "first": NodePrecision(
        Dtype.FP16, "rule 11 (small or narrow ops stay in high precision): N is 1", "Conv", 300, 30.0, 66.0
    ),
    "first_relu": NodePrecision(Dtype.FP16, "rule 5 (a title)", "Relu", drift_db=200.0),
    "second": NodePrecision(Dtype.INT8, "rule 3 (quantize data and weight)", "Conv", 700, 40.0, 30.0),
    "sum": NodePrecision(Dtype.FP16, "asked for by the plan", "Add"),
}


IMAGE = (TensorSpec("input", "float32", ("batch", 3, 16, 16)),)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """One with a plan and a graph, and no engine."""
    model = cnn()
    for node in model.graph.node:
        node.name = node.output[0]
    onnx.save(model, tmp_path / "model.onnx")
    write_json(tmp_path / "precision.json", PrecisionPlan(NODES, ["second: a note"], ORIGIN))
    write_json(tmp_path / "manifest.json", BundleManifest("key", "model", "data", "settings", {}))
    return tmp_path


def printed(found: Explanation, **options: object) -> str:
    stream = StringIO()
    render(found, Console(file=stream, width=200), **options)  # type: ignore[arg-type]
    return stream.getvalue()


def test_what_matters_most_comes_first_with_error_drift_and_work(bundle: Path) -> None:
    found = explain_bundle(bundle, None)
    lines = printed(found).splitlines()
    assert [line.split()[0] for line in lines[1:5]] == ["first", "second", "first_relu", "sum"]
    assert "90.9 %" in lines[1] and "66.0 dB" in lines[1] and "30.0 %" in lines[1] and "rule 11: N is 1" in lines[1]
    assert "exact" in lines[3] and "time" not in lines[0] and "predicted" not in lines[0], "nobody measured a time"
    assert any("the error begins at second (Conv)" in line for line in lines) and "- second: a note" in lines


def test_it_can_be_sorted_and_is_bounded(bundle: Path) -> None:
    found = explain_bundle(bundle, None)
    first = {sort: printed(found, sort=sort).splitlines()[1].split()[0] for sort in orders(found)}
    assert first == {"error": "first", "time": "second", "macs": "second", "drift": "second", "graph": "first"}
    assert "and 3 nodes more" in printed(found, top=1) and "more" not in printed(found, top=0)


def test_one_node_in_full_with_its_neighbours(bundle: Path) -> None:
    stream = StringIO()
    render_node(explain_bundle(bundle, "second"), Console(file=stream, width=80))
    text = stream.getvalue()
    for said in (
        "computes in int8: rule 3 (quantize data and weight)",
        "alone quantized, it leaves the outputs 40.0 dB, 9.1 % of what all measured nodes cause",
        "its result has 30.0 dB against FP32",
        "700 multiply-accumulates per sample, 70.0 % of all",
        "the error begins at second",
        "reads first_relu (Relu, fp16, exact)",
        "read by sum (Add, fp16)",
        "- second: a note",
    ):
        assert said in text
    with pytest.raises(BadInput, match="no node 'secnd'") as error:
        explain_bundle(bundle, "secnd")
    assert "second" in str(error.value)


def engine_for(bundle: Path, target: str) -> None:
    """The description of a plan, without the plan."""
    folder = bundle / "engines" / target
    folder.mkdir(parents=True)
    profile = ShapeProfile({})
    plan = EngineManifest(target, "tensorrt", "11.4.0", None, "engine.plan", "", 1, "int8", profile, IMAGE, ())
    plan.save(folder)


def test_a_plan_for_a_gpu_of_no_listed_kind_is_explained_without_a_prediction(bundle: Path) -> None:
    engine_for(bundle, "sm86")
    engine_for(bundle, "t4")
    assert explain_bundle(bundle, None, "sm86").predicted_for == ""
    assert explain_bundle(bundle, None).predicted_for == "t4"


def test_a_prediction_that_cannot_be_made_says_why(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(STRICT, raising=False)
    monkeypatch.setattr(explaining, "predicted_times", lambda *given: {}["a kernel"])
    engine_for(bundle, "t4")
    some_node = next(iter(explain_bundle(bundle, None).nodes))
    for node in (None, some_node):
        notes = explain_bundle(bundle, node).notes
        assert any("left out: prediction by the roofline model" in note for note in notes)


def test_a_node_that_is_reached_on_many_ways_is_looked_at_once() -> None:
    """Thirty pairs of equal nodes in a row, none of the plan: 2^30 ways, two neighbours."""
    steps = " ".join(f"a{i} = Neg(x{i}) b{i} = Abs(x{i}) x{i + 1} = Add(a{i}, b{i})" for i in range(30))
    model = ir.from_onnx_text(
        '<ir_version: 10, opset_import: ["" : 21]> g (float[4] x) => (float[4] y) '
        f"{{ [first] x0 = Relu(x) {steps} [last] y = Relu(x30) }}"
    )
    plan = dict.fromkeys(("first", "last"), NODES["sum"])
    assert _neighbours(model, "last", plan) == (["first"], [])
    assert _neighbours(model, "first", plan) == ([], ["last"])


def test_the_command_prints_json_and_refuses_an_unknown_order(
    bundle: Path, capsysbinary: pytest.CaptureFixture
) -> None:
    with pytest.raises(SystemExit) as done:
        main(["explain", str(bundle), "--json"])
    found = json.loads(capsysbinary.readouterr().out)
    assert done.value.code in (0, None) and found["origin"]["node"] == "second" and found["macs"] == 1000
    assert found["nodes"]["second"]["drift_db"] == 30.0 and found["error_shares"]["first"] > 0.9
    with pytest.raises(SystemExit) as done:
        main(["explain", str(bundle), "--sort", "name"])
    assert done.value.code == 2 and b"one of error, time" in capsysbinary.readouterr().err


def test_a_rule_is_shortened_to_what_it_says_of_the_node() -> None:
    assert short("rule 11 (a title): N is 1") == "rule 11: N is 1"
    assert rules(["rule 11 (a title): N is 1", "rule 3 (another)", "rule 11 (a title): N is 2", "measured"]) == [
        "rule 3: another",
        "rule 11: a title",
    ]
    assert short("rule 3 (quantize data and weight)") == "rule 3"
    assert short("asked for by the plan") == "asked for by the plan"
