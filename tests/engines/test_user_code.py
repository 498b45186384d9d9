"""Code that a user names is loaded by one set of rules, whichever option names it."""

from __future__ import annotations

import errno
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from benchmarks.accuracy.task_metric import TaskMetric
from calibration.sources.open import open_source
from engines.engine import Array, EngineBase, Feed, TensorSpec
from engines.user_code import check_named, load_callable
from graphs.errors import BadInput
from optimizer import optimize

X = (TensorSpec("x", "float32", ("batch", 4)),)


@pytest.fixture(autouse=True)
def own_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))


class Answering(EngineBase):
    """An engine that is only asked for its answer."""

    _inputs = _outputs = ()

    def infer(self, feed: Feed) -> dict[str, Array]:
        return {}

    def close(self) -> None: ...


def as_data(spec: str) -> object:
    return open_source(spec, X)


@pytest.mark.parametrize("load", [as_data, TaskMetric.load, load_callable])
def test_a_file_may_import_its_neighbours_whatever_names_it(load: object, tmp_path: Path) -> None:
    assert callable(load)
    (tmp_path / f"near_{load.__name__}.py").write_text("ROW = {'x': [0.0] * 4}\n")
    file = tmp_path / "named.py"
    file.write_text(f"from near_{load.__name__} import ROW\ndef rows(*infer):\n    return [ROW]\n")
    load(f"{file}:rows")


@pytest.mark.parametrize("load", [as_data, TaskMetric.load, load_callable])
def test_a_module_of_the_working_folder_is_found_whatever_names_it(
    load: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert callable(load)
    name = f"in_the_working_folder_{load.__name__}"
    (tmp_path / f"{name}.py").write_text("def rows(*infer):\n    return [{'x': [0.0] * 4}]\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place not in ("", str(tmp_path))])
    load(f"{name}:rows")


def test_a_neighbour_imported_when_the_function_runs_is_found(tmp_path: Path) -> None:
    (tmp_path / "late_neighbour.py").write_text("VALUE = 7\n")
    (tmp_path / "late.py").write_text("def value():\n    import late_neighbour\n    return late_neighbour.VALUE\n")
    assert load_callable(f"{tmp_path / 'late.py'}:value")() == 7


def test_nothing_of_the_users_takes_the_place_of_an_installed_package(tmp_path: Path) -> None:
    (tmp_path / "colorsys.py").write_text("raise AssertionError('shadowed')\n")
    (tmp_path / "shadow.py").write_text("import colorsys\ndef one():\n    return 1\n")
    sys.modules.pop("colorsys", None)
    assert load_callable(f"{tmp_path / 'shadow.py'}:one")() == 1


@pytest.mark.parametrize("load", [as_data, TaskMetric.load, load_callable])
@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "import no_such_package_of_yours",
            r"ModuleNotFoundError: No module named 'no_such_package_of_yours' \(.*:1\)",
        ),
        ("import sys\nsys.exit(3)", r"importing it failed: SystemExit: 3"),
        ("def other():\n    pass", "has no function 'rows'"),
        ("def broken(:", "importing it failed: SyntaxError"),
    ],
)
def test_what_cannot_be_loaded_is_one_message(load: object, text: str, words: str, tmp_path: Path) -> None:
    assert callable(load)
    (tmp_path / "named.py").write_text(text + "\n")
    with pytest.raises(BadInput, match=words):
        load(f"{tmp_path / 'named.py'}:rows")


def test_a_function_that_ends_the_process_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "ends.py").write_text("import sys\ndef score(*infer):\n    sys.exit('no labels found')\n")
    spec = f"{tmp_path / 'ends.py'}:score"
    with pytest.raises(BadInput, match="SystemExit: no labels found"):
        open_source(spec, X)
    with pytest.raises(BadInput, match="SystemExit: no labels found"):
        TaskMetric.load(spec).score(Answering())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def other(): ...", "has no function 'top1'"),
        ("def top1(): ...", ""),
        ("from other import *", ""),
        ("def __getattr__(name): ...", ""),
    ],
)
def test_a_function_is_looked_for_in_a_file_without_running_it(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "score.py").write_text(f"{text}\nraise AssertionError('run')\n")
    with pytest.raises(BadInput, match=words) if words else nullcontext():
        check_named(f"{tmp_path / 'score.py'}:top1")
    with pytest.raises(BadInput, match="no such file"):
        check_named(f"{tmp_path / 'none.py'}:top1")


def test_a_file_that_cannot_be_read_is_bad_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any, **__: Any) -> str:
        raise PermissionError(errno.EACCES, "Permission denied")

    (tmp_path / "score.py").touch()
    monkeypatch.setattr(Path, "read_text", refused)
    with pytest.raises(BadInput, match="Permission denied"):
        check_named(f"{tmp_path / 'score.py'}:top1")


@pytest.mark.parametrize("given", [{"data": "nowhere"}, {"eval_data": "nowhere"}, {"evaluate": "nowhere.py:top1"}])
def test_what_is_not_there_is_said_before_the_model_is_read(tmp_path: Path, given: dict[str, str]) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(BadInput, match="nowhere"):
        optimize(tmp_path / "model.onnx", out=tmp_path / "out", targets="cpu", **given)
