"""The one child runner: nothing outlives its context or its parent, and how a child ended is said."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engines.processes.child_process import Child, run_child

ROOT = Path(__file__).resolve().parents[3]
GRANDCHILD = "import subprocess, sys, time\nsubprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
READY = "print('ready', flush=True)\ntime.sleep(60)\n"


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Make a module of the test's own that a child can run."""

    def make(name: str, source: str) -> str:
        (tmp_path / f"{name}.py").write_text(source)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        return name

    return make


def session_is_empty(leader: int) -> bool:
    try:
        os.killpg(leader, 0)
    except ProcessLookupError:
        return True
    return False


def eventually(condition, seconds: float = 5.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end and not condition():
        time.sleep(0.02)
    return bool(condition())


def test_leaving_the_context_ends_the_child_and_what_it_started(module) -> None:
    with pytest.raises(KeyboardInterrupt), Child(module("starts_another", GRANDCHILD + READY)) as child:
        assert child.process.stdout is not None and child.process.stdout.readline() == b"ready\n"
        raise KeyboardInterrupt
    assert eventually(lambda: session_is_empty(child.process.pid))


def test_a_child_dies_with_a_parent_that_is_killed(module, tmp_path: Path) -> None:
    module("waits", "import time\n" + READY)
    parent = (
        "from engines.processes.child_process import Child\nchild = Child('waits')\n"
        "print(child.process.pid, child.process.stdout.readline(), flush=True)\nchild.process.wait()\n"
    )
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True, env=environment) as run:
        assert run.stdout is not None
        child = int(run.stdout.readline().split()[0])
        run.kill()
    assert eventually(lambda: session_is_empty(child)), "its parent was ended without a chance to end it"


def test_a_time_limit_ends_it(module) -> None:
    with pytest.raises(TimeoutError, match=r"0\.5 s"):
        run_child(module("sleeps", "import time; time.sleep(60)"), limit_s=0.5)


@pytest.mark.parametrize(
    ("source", "code", "last"),
    [
        ("import sys; print('one\\ntwo', file=sys.stderr); sys.exit(3)", 3, "two"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", -signal.SIGSEGV, "was ended by SIGSEGV"),
    ],
)
def test_how_it_ended_is_said(module, source: str, code: int, last: str) -> None:
    done = run_child(module("ends", source))
    assert (done.code, done.last_words) == (code, last)


def test_modules_in_the_users_folder_are_not_run_in_place_of_ours(
    module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("engines", "onnxruntime", "runpy"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the user\\'s own')")
    monkeypatch.chdir(tmp_path)
    shown = tmp_path / "elsewhere"
    shown.mkdir()
    (shown / "shows.py").write_text("import engines.onnxruntime.engine, onnxruntime; print(onnxruntime.__version__)")
    monkeypatch.setenv("PYTHONPATH", str(shown))
    done = run_child("shows")
    assert done.code == 0 and done.output[:1].isdigit(), done.errors


def test_an_installed_package_is_found_before_the_users_folder_of_its_name(
    module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As from a wheel: our packages lie on the path already, and no folder of theirs is handed to the child."""
    name = module("lies_beside_the_packages", "import benchmarks, engines; print(engines.__file__, flush=True)")
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{tmp_path}")
    monkeypatch.setattr("engines.processes.child_process._own_path", list)
    user = tmp_path / "user"
    for package in ("benchmarks", "engines", "optimizer"):
        (user / package).mkdir(parents=True)
        (user / package / "__init__.py").write_text("raise SystemExit('this is the user's own folder')")
    monkeypatch.chdir(user)
    with Child(name) as child:
        out, error = child.process.communicate(timeout=30)
    assert child.process.returncode == 0, error
    assert str(ROOT).encode() in out
