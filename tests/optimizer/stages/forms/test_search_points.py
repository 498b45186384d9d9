"""Measured points of a search: kept, taken back by the same search, dropped by another."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.accuracy.compare import Accuracy
from optimizer.precision import PrecisionPlan
from optimizer.search.frontier import to_float
from optimizer.search.trades import Trade
from optimizer.stages.forms.accuracy_check import AccuracyCheck
from optimizer.stages.forms.pareto import beats, recorded
from optimizer.stages.forms.search_points import Point, PointStore
from optimizer.stages.forms.typed_forms import TypedForm


def point(folder: Path, drop: float = 0.1, milliseconds: float = 1.0, share: float = 0.5) -> Point:
    check = AccuracyCheck(Accuracy(3), None, drop, drop <= 0.2)
    form = TypedForm(folder / "model.onnx", PrecisionPlan({}), share, check)
    return Point([], form, Trade({"cpu": milliseconds}, 10), 0.5)


def test_a_point_is_made_once_and_its_graph_is_found_again(tmp_path: Path) -> None:
    made: list[Path] = []

    def make(folder: Path) -> Point:
        made.append(folder)
        return point(folder)

    first = PointStore(tmp_path / "points", "a").point(to_float(["x", "y"]), make)
    (tmp_path / "points").rename(tmp_path / "moved")
    again = PointStore(tmp_path / "moved", "a").point(to_float(["y", "x"]), make)
    assert len(made) == 1 and again.form.check == first.form.check
    assert again.form.path == tmp_path / "moved" / made[0].name / "model.onnx"


def test_another_search_takes_nothing_back(tmp_path: Path) -> None:
    PointStore(tmp_path, "a").point(to_float(["x"]), point)
    found = PointStore(tmp_path, "b").point(to_float(["x"]), lambda folder: point(folder, drop=0.3))
    assert found.form.check.drop == 0.3


def test_a_point_that_was_interrupted_is_made_again(tmp_path: Path) -> None:
    store = PointStore(tmp_path, "a")

    def killed(folder: Path) -> Point:
        (folder / "half.onnx").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.point(to_float(["x"]), killed)
    seen: list[list[Path]] = []
    store.point(to_float(["x"]), lambda folder: (seen.append(list(folder.iterdir())), point(folder))[1])
    assert seen == [[]]


def test_a_graph_that_is_too_large_is_not_kept_and_its_figures_are(tmp_path: Path) -> None:
    def make(folder: Path) -> Point:
        (folder / "0").mkdir()
        (folder / "0" / "model.onnx").touch()
        return point(folder / "0")

    store, moves = PointStore(tmp_path, "a"), to_float(["x"])
    store.point(moves, make)
    store.drop_graph(moves)
    kept = store.point(moves, lambda folder: pytest.fail("measured again"))
    assert kept.form.check.drop == 0.1 and not kept.form.path.is_file()
    store.forget(moves)
    assert store.point(moves, make).form.path.is_file()


def test_only_what_nothing_beats_keeps_its_plan(tmp_path: Path) -> None:
    good, slow, poor = point(tmp_path), point(tmp_path, milliseconds=2.0), point(tmp_path, drop=0.3, milliseconds=0.5)
    assert beats(good, slow) and not beats(good, poor) and not beats(good, good)
    record = recorded(
        [good, slow, poor], good, 0.2, surely=False, optimize_for="latency", cost="", seconds=1.0, bound_s=2.0
    )
    assert [plan is None for plan in record.plans] == [False, True, False]
    assert [found.chosen for found in record.told.points] == [True, False, False]
