"""The one way a module of ours runs in a process of its own: builder, LoadGen, memory, engines together, plan checks.

Foreign code can crash, hang or take the machine's memory, so it runs in a child. A child leads a session of its own: a
terminal's Ctrl-C reaches the parent alone, which then ends the child and whatever that started. The kernel ends it
where the parent dies without a word (Linux).

The child finds our packages whatever folder the user stands in. ``python -m`` puts the working folder first on the
module path: a user's own ``benchmarks/`` or ``engines/`` would be run in place of ours. ``PYTHONSAFEPATH`` keeps it out
from Python 3.11 on only. So the child starts from a line of code that moves the working folder to the end, where
``module:function`` of the user's is still found.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import gettempdir
from types import TracebackType
from typing import IO, Any, TypeVar

import engines

_START = (
    "import os, sys; "
    "here, parent = os.getcwd(), int(sys.argv[2]); "
    "own = [place for place in sys.argv[1].split(os.pathsep) if place]; "
    "sys.path[:] = [place for place in sys.path if place not in ('', here) or place in own]; "
    "sys.path.append(here); "
    "import runpy; from engines.processes.lifetime import die_with_parent; "
    "die_with_parent(parent); "
    "del sys.argv[1:3]; "
    "runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)"
)


_C = TypeVar("_C", bound="Child")


class Child:
    """A running child; leaving its context leaves nothing of it behind.

    ``module`` is a dotted name, as for ``python -m``; ``environment`` is added to this process's own. Streams are as
    ``subprocess.Popen`` takes them and carry bytes; none is standard input's default. ``pass_fds`` stay open in it.
    """

    def __init__(
        self,
        module: str,
        *arguments: str,
        environment: dict[str, str] | None = None,
        stdin: int = subprocess.DEVNULL,
        stdout: int | IO[Any] | None = subprocess.PIPE,
        stderr: int | IO[Any] | None = subprocess.PIPE,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self.process: subprocess.Popen[bytes] = subprocess.Popen(
            [sys.executable, "-c", _START, os.pathsep.join(_own_path()), str(os.getpid()), module, *arguments],
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=_environment(environment or {}),
            pass_fds=tuple(pass_fds),
            start_new_session=True,
        )

    def kill(self) -> None:
        """End the child and whatever it started, and wait for its end."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def __enter__(self: _C) -> _C:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.kill()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                with suppress(BrokenPipeError):  # it died before it read what was written to it
                    stream.close()


@dataclass(frozen=True)
class Finished:
    """How a child ended: ``code`` as ``subprocess`` gives it (minus the signal that ended it), and what it wrote."""

    code: int
    output: str
    errors: str

    @property
    def last_words(self) -> str:
        """The last line of standard error, which usually names the cause; how it ended where it wrote none."""
        return last_line(self.errors) or how_it_ended(self.code)


def run_child(
    module: str, *arguments: str, limit_s: float | None = None, environment: dict[str, str] | None = None
) -> Finished:
    """Run ``module`` in a child until it ends. Raises ``TimeoutError`` after ``limit_s`` seconds, the child ended."""
    with Child(module, *arguments, environment=environment) as child:
        try:
            output, errors = child.process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"{module} did not end within {limit_s:g} s") from None
        return Finished(child.process.returncode, output.decode(errors="replace"), errors.decode(errors="replace"))


def last_line(text: str) -> str:
    """The last line of what a child wrote; empty where it wrote none."""
    return (text.strip().splitlines() or [""])[-1]


def how_it_ended(code: int) -> str:
    """``code`` in words: the signal's name or the exit status."""
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"


def _environment(more: dict[str, str]) -> dict[str, str]:
    """This process's environment, in which the child finds our packages where they are not installed and makes its
    temporary files where we do, and ``more``."""
    path = os.pathsep.join(filter(None, [*_own_path(), os.environ.get("PYTHONPATH", "")]))
    return {
        **os.environ,
        **({"PYTHONPATH": path} if path else {}),
        "PYTHONUNBUFFERED": "1",
        "TMPDIR": gettempdir(),
        **more,
    }


def _own_path() -> list[str]:
    """The folder our packages lie in; nothing where they are installed, as they are found there anyway."""
    root = Path(engines.__file__).resolve().parent.parent
    return [] if root.name in ("site-packages", "dist-packages") else [str(root)]
