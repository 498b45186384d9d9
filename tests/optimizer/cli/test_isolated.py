"""A crash of native code, an internal error and a signal each end a command with one message and an exit code."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SCRIPT = """
    import ctypes, os, signal, sys, time
    from optimizer.cli import main as command
    from optimizer.cli.isolated import WHEREABOUTS
    from optimizer.events import Detail, StageStarted

    def work():
        WHEREABOUTS(StageStarted("type", "type the graph"))
        WHEREABOUTS(Detail("type", "rounding weights"))
        print("working", flush=True)
        {work}
        return 3

    command.VERBS["doctor"] = work
    sys.argv = ["optimize", "doctor"]
    command.main()
"""


def started(work: str, folder: Path, before: str = "") -> subprocess.Popen[str]:
    code = f"{before}\n{textwrap.dedent(SCRIPT).replace('{work}', work)}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder)}
    return subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def ended(work: str, folder: Path) -> tuple[int, str]:
    process = started(work, folder)
    _, errors = process.communicate(timeout=30)
    return process.returncode, errors


def test_a_reader_that_leaves_is_no_error(tmp_path: Path) -> None:
    """``optimize explain BUNDLE | head`` told of an internal error."""
    work = "from optimizer.cli.printing import console; [console().print('x' * 70) for _ in range(20_000)]"
    process = started(work, tmp_path)
    assert process.stdout is not None and process.stderr is not None
    assert process.stdout.readline() == "working\n"
    process.stdout.close()
    assert process.wait(timeout=30) == 1
    assert process.stderr.read() == ""
    assert not list(tmp_path.iterdir())


def test_the_exit_code_is_the_commands(tmp_path: Path) -> None:
    assert ended("pass", tmp_path) == (3, "")
    assert not list(tmp_path.iterdir())


def test_a_segfault_is_told_with_what_was_at_work(tmp_path: Path) -> None:
    code, errors = ended("ctypes.string_at(0)", tmp_path)
    assert code == 1
    assert "SIGSEGV" in errors and "type the graph (rounding weights)" in errors
    assert "Traceback" not in errors and "Fatal Python error" not in errors
    (log,) = tmp_path.iterdir()
    assert str(log) in errors and "string_at" in log.read_text()


def test_an_internal_error_is_one_message_and_its_stack_a_file(tmp_path: Path) -> None:
    code, errors = ended("raise TypeError('bad operand')", tmp_path)
    assert code == 1
    assert "internal error" in errors and "bad operand" in errors and "Traceback" not in errors
    (log,) = tmp_path.iterdir()
    assert "Traceback" in log.read_text()


def test_code_that_ends_the_process_is_told(tmp_path: Path) -> None:
    code, errors = ended("raise SystemExit('no labels found')", tmp_path)
    assert code == 1 and "no labels found" in errors and "Traceback" not in errors


def test_running_out_of_memory_is_told(tmp_path: Path) -> None:
    code, errors = ended("raise MemoryError", tmp_path)
    assert code == 1 and "memory ran out" in errors


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_reaches_the_work(tmp_path: Path, number: signal.Signals, code: int) -> None:
    process = started("time.sleep(30)", tmp_path)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(number)
    _, errors = process.communicate(timeout=10)
    assert process.returncode == code
    assert "crashed" not in errors and "Traceback" not in errors


def test_a_signal_while_the_work_is_started_is_not_lost(tmp_path: Path) -> None:
    """The command has forked, and is not yet ready to pass on what it gets: it was ended, the work was not."""
    slow = "wait = isolated._wait\nisolated._wait = lambda *given: (time.sleep(0.5), wait(*given))[1]"
    process = started("time.sleep(30)", tmp_path, f"import time\nfrom optimizer.cli import isolated\n{slow}")
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=10)
    assert process.returncode == 143


def test_ctrl_c_does_not_wait_for_native_code(tmp_path: Path) -> None:
    """Python sees a signal when the call returns: here after minutes."""
    work = "import hashlib; hashlib.pbkdf2_hmac('sha256', b'x', b'y', 2 * 10**9)"
    process = started(work, tmp_path, "from optimizer.cli import isolated\nisolated.PATIENCE_S = 0.3")
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 130
    assert errors.startswith("optimize: interrupted") and errors.count("\n") == 1


def test_the_work_does_not_outlive_a_killed_command(tmp_path: Path) -> None:
    process = started("print(os.getpid(), flush=True); time.sleep(30)", tmp_path)
    assert process.stdout is not None
    process.stdout.readline()
    worker = int(process.stdout.readline())
    process.kill()
    process.wait(timeout=10)
    for _ in range(100):
        if not Path(f"/proc/{worker}").exists() or "Z" in Path(f"/proc/{worker}/stat").read_text().split(")")[1]:
            return
        time.sleep(0.05)
    pytest.fail("the worker is still there")
