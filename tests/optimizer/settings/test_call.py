"""What a report shows for making its bundle again: the command, or the call of the Python API, never a caller's."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from optimizer import main_job, pipeline
from optimizer.cli.main import main
from optimizer.cli.process import running
from optimizer.settings.call import call_text, update_text
from optimizer.settings.job import Settings
from optimizer.settings.options import Precision

M, OUT = Path("m.onnx"), Path("/there")


def a_function() -> list[dict[str, object]]:
    return []


def test_the_call_can_be_made_again() -> None:
    settings = Settings(Precision.FP16, targets=("cpu", "t4"), data=Path("calib"), max_drop=0.02, loadgen=())
    text = call_text(M, settings, OUT)
    assert text == (
        "optimize('m.onnx', precision='fp16', targets=['cpu', 't4'], data='calib', max_drop=0.02, loadgen=[], "
        "out='/there')"
    )
    seen: list[Settings] = []
    again = {"optimize": lambda model, out, **options: seen.append(main_job.apply_options(Settings(), options))}
    eval(text, again)
    assert seen == [Settings(Precision.FP16, ("cpu", "t4"), "calib", max_drop=0.02, loadgen=())]


def test_the_call_of_an_update_names_what_was_given_in_place_of_the_bundles_own() -> None:
    given = {"data": Path("calib"), "eval_data": None, "evaluate": a_function, "loadgen": ("offline",)}
    assert update_text(Path("m.optimized"), M, given, OUT) == (
        f"update('m.optimized', 'm.onnx', data='calib', evaluate='{__name__}:a_function', loadgen=['offline'], "
        "out='/there')"
    )
    assert update_text(Path("b"), M, {"data": lambda: [{}]}, OUT) == ""


def test_a_function_is_named_where_it_can_be_imported() -> None:
    assert f"data='{__name__}:a_function'" in call_text(M, Settings(data=a_function), OUT)
    assert call_text(M, Settings(data=lambda: [{}]), OUT) == "", "no text makes this again"


def test_python_callers_and_the_command_are_told_apart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["pytest", "-k", "something else"])
    commands: list[str] = []

    def run(*_: object, command: str, **__: object) -> object:
        commands.append(command)
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "run", run)
    with pytest.raises(KeyboardInterrupt):
        main_job.optimize("m.onnx", samples=3)
    with pytest.raises(SystemExit):
        main(["m.onnx", "--samples", "3", "-q"])
    assert running.optimize is main_job.optimize
    assert commands == [
        f"optimize('m.onnx', samples=3, out='{tmp_path}/m.optimized')",
        "optimize m.onnx --samples 3 -q",
    ]


def test_every_public_name_is_there() -> None:
    import optimizer

    assert all(getattr(optimizer, name) is not None for name in optimizer.__all__)
