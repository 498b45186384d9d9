"""A crash of native code, an internal error and a signal each end a command with one message and an exit code."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from graphs.errors import BadInput
from optimizer.cli.main import main
from optimizer.cli.process.isolated import WHEREABOUTS
from optimizer.events import StageStarted

ROOT = Path(__file__).parents[4]
SCRIPT = """
    import ctypes, os, signal, sys, time
    from optimizer.cli import main as command
    from optimizer.cli.process.isolated import WHEREABOUTS
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
    work = "from optimizer.cli.output.printing import console; [console().print('x' * 70) for _ in range(20_000)]"
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


@pytest.mark.parametrize(
    ("module", "name", "words"),
    [("fleet", "run_fleet", ["a.onnx", "-o", "out"]), ("plaster", "plaster_study", ["a.onnx"])],
)
def test_a_job_among_others_says_what_it_is_at(
    module: str, name: str, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash in ``fleet`` or ``plaster`` was told without it."""

    def study(*_: object, listeners: Any, **__: object) -> None:
        for listen in listeners(Path("a.onnx")) if callable(listeners) else listeners:
            listen(StageStarted("type", f"type the graph of a {module}"))
        raise BadInput("enough seen")

    monkeypatch.setattr(f"optimizer.verbs.{module}.{name}", study)
    with pytest.raises(SystemExit):
        main([module, *words])
    assert WHEREABOUTS.read() == f"type the graph of a {module}"


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
    process = started("time.sleep(30)", tmp_path, f"import time\nfrom optimizer.cli.process import isolated\n{slow}")
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=10)
    assert process.returncode == 143


def test_ctrl_c_does_not_wait_for_native_code(tmp_path: Path) -> None:
    """Python sees a signal when the call returns: here after minutes."""
    work = "import hashlib; hashlib.pbkdf2_hmac('sha256', b'x', b'y', 2 * 10**9)"
    process = started(work, tmp_path, "from optimizer.cli.process import endings\nendings.PATIENCE_S = 0.3")
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


def test_a_full_disk_is_told_wherever_it_is_met(tmp_path: Path) -> None:
    code, errors = ended("raise OSError(28, 'No space left on device', '/data/out')", tmp_path)
    assert code == 1 and errors.startswith("optimize: /data/out: no space left") and "internal" not in errors
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_bad_input(tmp_path: Path) -> None:
    """``bench -o`` the name of a file was an internal error."""
    code, errors = ended(f"import os; os.mkdir({str(tmp_path)!r})", tmp_path)
    assert code == 2 and errors.startswith(f"optimize: {tmp_path}: cannot be") and "internal" not in errors


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_output_that_cannot_be_written_is_no_success() -> None:
    """``--json > report.json`` on a full disk ended with 0."""
    run = [sys.executable, "-m", "optimizer.cli.start", "doctor", "--json"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(run, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "no space left" in done.stderr.lower() and "Traceback" not in done.stderr and "internal" not in done.stderr


def test_ctrl_c_before_anything_has_begun_ends_without_a_word() -> None:
    """Python printed the stack of the module that was being imported."""
    interrupted = "import importlib.abc, os, signal, sys\nfrom optimizer.cli.start import main\n" + textwrap.dedent("""
        class Interrupting(importlib.abc.MetaPathFinder):
            def find_spec(self, name, path, target=None):
                if name == "typer":
                    os.kill(os.getpid(), signal.SIGINT)

        sys.meta_path.insert(0, Interrupting())
        main()
    """)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", interrupted], env=environment, capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")


def test_signs_that_the_terminal_lacks_are_no_error(tmp_path: Path) -> None:
    """A table's ≥ and × on a terminal of another encoding ended in an internal error."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"}
    run = [sys.executable, "-m", "optimizer.cli.start", "verify", str(tmp_path / "größe")]
    done = subprocess.run(run, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2 and "gr??e: no such bundle" in done.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)])
def test_work_that_is_ended_clears_up(tmp_path: Path, number: signal.Signals, code: int) -> None:
    work = f"""
        try:
            print("begun", flush=True)
            time.sleep(30)
        finally:
            time.sleep(0.3)  # a second signal comes meanwhile
            open({str(tmp_path / "cleared")!r}, "w").close()
    """
    process = started(textwrap.indent(textwrap.dedent(work), " " * 4).strip(), tmp_path)
    assert process.stdout is not None
    assert (process.stdout.readline(), process.stdout.readline()) == ("working\n", "begun\n")
    process.send_signal(number)
    if number != signal.SIGINT:  # a second Ctrl-C is taken at its word
        time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
    process.communicate(timeout=10)
    assert process.returncode == code
    assert [path.name for path in tmp_path.iterdir()] == ["cleared"]


@pytest.mark.parametrize(
    ("end", "code"), [("time.sleep(30)", 143), ("os.kill(os.getpid(), signal.SIGKILL)", 1), ("ctypes.string_at(0)", 1)]
)
def test_nothing_stays_of_work_however_it_ends(tmp_path: Path, end: str, code: int) -> None:
    """A folder it made, what it started, and what that started."""
    grandchild = "import subprocess, sys; subprocess.Popen(['sleep', '77']); print(flush=True); input()"
    start = f"subprocess.Popen([sys.executable, '-c', {grandchild!r}], stdin=-1, stdout=-1, start_new_session=True)"
    made = f"import subprocess, tempfile; tempfile.mkdtemp(); kept = {start}"
    work = f"{made}; kept.stdout.readline(); print('on', flush=True); {end}"
    process = started(work, tmp_path)
    assert process.stdout is not None
    assert (process.stdout.readline(), process.stdout.readline()) == ("working\n", "on\n")
    if code == 143:
        process.send_signal(signal.SIGTERM)
    process.communicate(timeout=10)
    assert process.returncode == code
    assert [path for path in tmp_path.iterdir() if path.suffix != ".log"] == []
    assert b"sleep\x0077\x00" not in _command_lines()


def _command_lines() -> list[bytes]:
    """Of all processes there are."""
    found: list[bytes] = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found.append(path.read_bytes())
    return found


def test_more_signals_do_not_buy_native_code_more_time(tmp_path: Path) -> None:
    """Each Ctrl-C began its five seconds anew: who pressed it again and again was never heard."""
    work = "import hashlib; print('on', flush=True); hashlib.pbkdf2_hmac('sha256', b'x', b'y', 2 * 10**9)"
    process = started(work, tmp_path, "from optimizer.cli.process import endings\nendings.PATIENCE_S = 1.0")
    assert process.stdout is not None
    assert (process.stdout.readline(), process.stdout.readline()) == ("working\n", "on\n")
    time.sleep(0.2)  # the call has begun
    for _ in range(20):
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.3)
            break
    else:
        process.kill()
    assert process.communicate(timeout=10)[1].startswith("optimize: interrupted")
    assert process.returncode == 130


def test_a_signal_when_the_work_has_just_ended_is_no_error(tmp_path: Path) -> None:
    late = "def late(*given): found = wait(*given); os.kill(os.getpid(), signal.SIGTERM); return found"
    process = started("pass", tmp_path, f"import os, signal\nwait = os.waitpid\n{late}\nos.waitpid = late")
    assert process.communicate(timeout=10)[1] == ""
    assert process.returncode == 3


def test_a_signal_before_the_work_has_begun_ends_it_as_later(tmp_path: Path) -> None:
    """The child told of its end itself ("Aborted!"), with an exit code of its own."""
    early = "def early(): os.kill(os.getpid(), signal.SIGTERM); begin()"  # held back until it is heard
    before = (
        f"import os, signal\nfrom optimizer.cli.process import isolated\nbegin = isolated.unwind_when_ended\n{early}"
    )
    process = started("pass", tmp_path, f"{before}\nisolated.unwind_when_ended = early")
    words, errors = process.communicate(timeout=10)
    assert (words, errors) == ("", "optimize: killed from outside (SIGTERM)\n") and process.returncode == 1
    assert not list(tmp_path.iterdir())


def test_a_second_ctrl_c_while_the_first_is_told_of(tmp_path: Path) -> None:
    again = "def again(*_): os.kill(os.getpid(), signal.SIGINT); time.sleep(5)"
    before = f"import os, signal, time\nfrom optimizer.cli import main\n{again}\nmain._say = again"
    process = started("os.kill(os.getppid(), signal.SIGINT); time.sleep(30)", tmp_path, before)
    assert process.communicate(timeout=20)[1] == ""
    assert process.returncode == 130


def test_a_log_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    """It was said to be standard output."""
    before = """
import os
from pathlib import Path
usual = Path.open
def full(file, *given, **named):
    if file.suffix == ".log":
        raise OSError(28, os.strerror(28), str(file))
    return usual(file, *given, **named)
Path.open = full
"""
    process = started("pass", tmp_path, before)
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 1 and ".log cannot be written: No space left on device" in errors
    assert "standard output" not in errors and "TMPDIR=" in errors


def test_native_code_that_does_not_look_up_is_ended_by_sigterm_too(tmp_path: Path) -> None:
    work = "import hashlib; hashlib.pbkdf2_hmac('sha256', b'x', b'y', 2 * 10**9)"
    process = started(work, tmp_path, "from optimizer.cli.process import endings\nendings.PATIENCE_S = 0.3")
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=10)[1] == ""
    assert process.returncode == 143


def test_a_signal_that_the_command_was_started_to_ignore_ends_nothing(tmp_path: Path) -> None:
    """``nohup optimize …``: the terminal's end is not the job's."""
    process = started(
        "time.sleep(1)",
        tmp_path,
        "import signal\nfor number in (signal.SIGHUP, signal.SIGINT): signal.signal(number, signal.SIG_IGN)",
    )
    assert process.stdout is not None
    process.stdout.readline()
    for number in (signal.SIGHUP, signal.SIGINT):  # and a script's ``optimize … &`` at Ctrl-C
        process.send_signal(number)
    assert process.wait(timeout=10) == 3


def test_no_place_for_temporary_files_is_one_message(tmp_path: Path) -> None:
    before = "import os, tempfile\ndef full(**_): raise OSError(28, os.strerror(28))\ntempfile.mkdtemp = full"
    process = started("pass", tmp_path, before)
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 1 and errors.startswith("optimize: no temporary folder: No space left on device\n")
