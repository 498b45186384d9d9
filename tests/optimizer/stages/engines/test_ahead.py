"""Plans begun while their form is checked."""

from __future__ import annotations

from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import onnx
import pytest

from calibration.sources.open import open_source
from engines.build_request import BuildRequest
from engines.engine import TensorSpec
from engines.errors import BuildError, BuildFailure
from engines.profile import ShapeProfile
from engines.progress import BuildProgress
from engines.targets.target import TARGETS
from optimizer.settings.job import Settings
from optimizer.stages import chain
from optimizer.stages.engines import ahead
from optimizer.stages.engines.ahead import PlansAhead
from optimizer.stages.engines.build import Terms

MODEL = Path("model.onnx")


def plans() -> PlansAhead:
    held_back = open_source("random", [TensorSpec("x", "float32", (4,))], samples=1)
    terms = Terms(Settings(jobs=2), ShapeProfile({}), sparse_weights=False, held_back=held_back)
    return PlansAhead([TARGETS["a100"], TARGETS["t4"]], terms)


def test_the_first_graph_is_built_for_every_target(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[tuple[str, str]] = []

    def build(request: BuildRequest, _: Any) -> None:
        built.append((request.target.name, request.model.name))
        if request.target.name == "t4":
            raise BuildError(BuildFailure.UNSUPPORTED_OP, "which the build proper says")

    monkeypatch.setattr(ahead, "build_engine", build)
    with plans() as begun:
        begun.begin(MODEL, "int8")
        begun.begin(Path("second.onnx"), "int8")
        begun.keep(MODEL)
        begun._pool.shutdown()
    assert sorted(built) == [("a100", "model.onnx"), ("t4", "model.onnx")]


@pytest.mark.parametrize("end", ["another graph", "the job's end"])
def test_what_is_not_wanted_is_stopped(end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    at_work, stopped = Event(), list[str]()

    def build(request: BuildRequest, report: Any) -> None:
        try:
            for _ in range(10_000_000):  # for seconds
                report(BuildProgress("timing kernels", 0.0))
                at_work.set()
        except BuildError:
            stopped.append(request.target.name)
            raise

    monkeypatch.setattr(ahead, "build_engine", build)
    with plans() as begun:
        begun.begin(MODEL, "int8")
        assert at_work.wait(30)
        if end == "another graph":
            begun.keep(Path("another.onnx"))
            begun._pool.shutdown()
    assert stopped and set(stopped) <= {"a100", "t4"}


@pytest.mark.parametrize(
    ("changed", "cached", "begins"),
    [({}, True, True), ({}, False, False), ({"kept": None}, True, False), ({"builder": None}, True, False)],
)
def test_only_an_update_begins_and_where_the_build_would_find_it(
    changed: dict[str, Any], cached: bool, begins: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chain, "used_gpu", lambda: None)
    (tmp_path / "float.onnx").write_bytes(onnx.ModelProto().SerializeToString())
    held_back = open_source("random", [TensorSpec("x", "float32", (4,))], samples=1)
    inputs = SimpleNamespace(held_back=held_back, batching=None, not_finite=())
    usual = {"kept": "a bundle", "builder": chain.build_engine, "settings": Settings(), "targets": [TARGETS["t4"]]}
    cleaned = SimpleNamespace(path=tmp_path / "float.onnx", profile=ShapeProfile({}), more_profiles=[])
    found = chain._plans_ahead(
        SimpleNamespace(**{**usual, "inputs": inputs, **changed}),  # type: ignore[arg-type]
        cleaned,  # type: ignore[arg-type]
        SimpleNamespace(afresh=False),  # type: ignore[arg-type]
        cached=cached,
    )
    assert bool(found._targets) == begins
