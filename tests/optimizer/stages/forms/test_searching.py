"""A budget that is given comes true with less in float than the loop of a job without one; interrupted, it goes on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import optimizer.stages.chain as chain
from benchmarks.report.model import Report, read_report
from graphs.errors import BadInput
from optimizer import optimize
from optimizer.events import Event, Progress
from optimizer.settings.job import Settings
from optimizer.stages.engines.build import BuildOutcome
from optimizer.stages.forms.accuracy_check import AccuracyChecker

LAYERS, WIDTH = 10, 32


def deep() -> onnx.ModelProto:
    """Convolutions one after the other, all of the same work: each adds its noise."""
    rng = np.random.default_rng(0)
    nodes, weights, last = [], [], "input"
    for k in range(LAYERS):
        shape = (WIDTH, WIDTH, 3, 3)
        weight = rng.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:])) * rng.lognormal(0, 0.6, (WIDTH, 1, 1, 1))
        weights.append(numpy_helper.from_array(weight.astype(np.float32), f"w{k}"))
        nodes.append(
            helper.make_node("Conv", [last, f"w{k}"], [f"c{k}"], f"conv{k}", pads=[1] * 4, kernel_shape=[3, 3])
        )
        nodes.append(helper.make_node("Relu", [f"c{k}"], [f"r{k}"], f"relu{k}"))
        last = f"r{k}"
    nodes.append(helper.make_node("GlobalAveragePool", [last], ["pooled"], "pool"))
    image = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", WIDTH, 6, 6])
    output = helper.make_tensor_value_info("pooled", TensorProto.FLOAT, ["batch", WIDTH, 1, 1])
    graph = helper.make_graph(nodes, "deep", [image], [output], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def no_plans(_: Path, targets: list, *__: object, **___: object) -> list[BuildOutcome]:
    return [BuildOutcome(target.name, f"engines/{target.name}/engine.plan", 1, 1.0, "trt") for target in targets]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with that model and data, the bundle of a job without a budget (``out``) and what it cached."""
    folder = tmp_path_factory.mktemp("made")
    onnx.save(deep(), folder / "deep.onnx")
    rng = np.random.default_rng(1)
    for name, count in (("data", 32), ("held", 200), ("few", 7)):
        images = rng.standard_normal((count, WIDTH, 6, 6)).astype(np.float32)
        np.savez(folder / f"{name}.npz", input=images)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENGINEWRIGHT_CACHE", str(folder / "cache"))
        patch.setattr(chain, "build_targets", no_plans)
        run(folder)
    return folder


@pytest.fixture
def job(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it; nothing is built of the model."""
    monkeypatch.setattr(chain, "build_targets", no_plans)
    monkeypatch.setenv("ENGINEWRIGHT_CACHE", str(tmp_path / "cache"))
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path


def without_budget(job: Path) -> Report:
    return read_report(job / "out" / "report.json")


def run(job: Path, out: str = "out", **options: Any) -> Report:
    files = {"data": str(job / "data.npz"), "eval_data": str(job / "held.npz")}
    options = {"targets": ["t4"], **files, "loadgen": (), **options}
    return optimize(job / "deep.onnx", out=job / out, **options).report


def drop(report: Report) -> float:
    assert report.accuracy is not None
    return max(1 - (output.cosine or 0.0) for output in report.accuracy.outputs.values())


def share(report: Report) -> float:
    return report.precision.int8_mac_share or 0.0


def test_on_the_same_samples_less_stays_in_float_than_after_three_steps(
    job: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = {"eval_data": str(job / "few.npz")}
    budget = 0.5 * drop(run(job, **few))
    found = run(job, max_drop=budget, optimize_for="size", **few)
    assert found.accuracy is not None and found.accuracy.budget is not None
    assert found.accuracy.budget.verdict == "on_samples" and "too few" in found.accuracy.budget.how
    monkeypatch.setattr(Settings, "searches", property(lambda _: False))
    before = run(job, "before", max_drop=budget, **few)  # as without a budget
    assert before.status == found.status == "ok" and share(found) > share(before)


def test_the_budget_comes_true_where_three_steps_miss_it(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    budget = 0.25 * drop(without_budget(job))
    found = run(job, max_drop=budget, optimize_for="size")
    assert found.status == "ok" and 0 < share(found) < 0.5
    assert found.accuracy is not None and found.accuracy.budget is not None
    assert found.accuracy.budget.verdict == "surely" and drop(found) <= (found.accuracy.budget.upper or 1.0) <= budget
    search = found.search["tensorrt"]
    assert search.chosen is not None and search.chosen.int8_mac_share == pytest.approx(share(found))
    monkeypatch.setattr(Settings, "searches", property(lambda _: False))
    assert run(job, "before", max_drop=budget).status == "over_budget"


def test_a_plan_of_another_point_builds_that(job: Path) -> None:
    found = run(job, max_drop=0.6 * drop(without_budget(job))).search["tensorrt"]
    other = next(point for point in found.points if point.plan and not point.chosen)
    again = run(job, "again", plan=str(job / "out" / other.plan))
    assert share(again) == pytest.approx(other.int8_mac_share, abs=1e-5)
    assert drop(again) == pytest.approx(other.drop, rel=0.05)


def test_where_no_mix_with_int8_will_do_the_graph_is_in_float_and_says_why(job: Path) -> None:
    report = run(job, max_drop=drop(without_budget(job)) / 1000)
    assert report.status == "ok" and share(report) == 0
    plan = json.loads((job / "out" / "precision.json").read_text())["nodes"]
    assert "no mix with int8 is within the budget" in plan["conv3"]["reason"]
    assert not any(node["reason"].startswith("asked for") for node in plan.values())


def test_what_is_within_the_budget_at_once_is_not_searched_for(job: Path) -> None:
    report = run(job, max_drop=0.5)
    assert share(report) > 0.99 and len(report.search["tensorrt"].points) <= 2


def test_an_interrupted_search_takes_back_what_it_measured(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    budget = 0.5 * drop(without_budget(job))
    checked: list[Path] = []
    check = AccuracyChecker.check
    monkeypatch.setattr(AccuracyChecker, "check", lambda self, form: (checked.append(form.path), check(self, form))[1])

    def kill(event: Event) -> None:
        if isinstance(event, Progress) and event.unit == "forms measured" and event.done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(job, max_drop=budget, listeners=[kill])
    before = set(checked)
    checked.clear()
    report = run(job, max_drop=budget)
    assert len(before) == 3 and not before & set(checked)
    assert len(report.search["tensorrt"].points) == len(checked) + 3


def test_a_budget_without_data_is_refused_in_one_line(job: Path) -> None:
    with pytest.raises(BadInput, match=r"--max-drop: .*made-up inputs"):
        run(job, max_drop=0.01, data=None)


@pytest.fixture(autouse=True)
def quiet_measurements(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Forms are timed for a moment only."""
    import optimizer.search.trades as trades

    monkeypatch.setattr(trades, "SECONDS", 0.02)
    yield
