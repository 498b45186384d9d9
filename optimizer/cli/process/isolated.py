"""A command runs in a child process, so that a crash of native code becomes a message and leaves nothing behind.

ONNX Runtime, onnx and numpy run foreign models in this very process; a segfault there, or a kernel that is out of
memory, would end it without a word. The child is forked before any of them is loaded. What it is doing stands in
memory that both share; what it could not say itself (a stack, an internal error) goes to a log file. Its temporary
files lie in one folder that the parent removes, however it ended, and what it started is ended with it.
"""

from __future__ import annotations

import errno
import faulthandler
import mmap
import os
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import TextIO

from engines.processes.lifetime import adopt_orphans, die_with_parent, end_orphans, kernel_kills
from graphs.errors import EnginewrightError
from optimizer.cli.process.endings import ENDING, FOR_EVER, PATIENCE, Terminated, end_by, heard, unwind_when_ended
from optimizer.events import Detail, Event, StageFinished, StageStarted

FAILED = 1
"""Exit code of a command that could not do its work."""
BAD_INPUT = 2
"""Exit code where the user can mend what was given."""
_PAGE = 4096
"""Bytes that both processes share."""
_NO_PLACE = (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EPERM, errno.EROFS)
"""What the system says of a place that a user names and nothing can be written to."""
_ANOTHER_FOLDER = "free space in /tmp, or name a folder that can be written: TMPDIR=DIR optimize …"


class Whereabouts:
    """What the running job is at, written by the child and read by the parent once it is gone."""

    def __init__(self) -> None:
        self._page = mmap.mmap(-1, _PAGE)
        self._stage = ""

    def __call__(self, event: Event) -> None:
        """Listen to a job: keep the stage that runs and what it says it is doing."""
        if isinstance(event, StageStarted):
            self._stage = event.title
            self._write(event.title)
        elif isinstance(event, StageFinished):
            self._write(f"what follows {self._stage!r}")
        elif isinstance(event, Detail):
            self._write(f"{self._stage} ({event.text})")

    def _write(self, text: str) -> None:
        encoded = text.encode()[: _PAGE - 1]
        self._page[: len(encoded) + 1] = encoded + b"\0"

    def read(self) -> str:
        return self._page[:].partition(b"\0")[0].decode(errors="ignore")


WHEREABOUTS = Whereabouts()


def run_isolated(work: Callable[[], int]) -> int:
    """The exit code of ``work``, run in a child process where the system can fork; else here.

    Raises ``EnginewrightError`` where the child ended without one: what ended it, what it was at, and where its stack
    is. A signal sent to the command reaches the child, and its end by that signal is the command's own. Raises
    ``KeyboardInterrupt`` where the child had to be ended after Ctrl-C.
    """
    if not hasattr(os, "fork"):
        signal.signal(signal.SIGINT, signal.default_int_handler)
        return work()
    place, held_place = _scratch()
    log = place.with_suffix(".log")
    adopt_orphans()
    kills, parent = kernel_kills(), os.getpid()
    held = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)  # until there is somebody to pass them on
    try:
        child = os.fork()
        if child == 0:
            _be_the_child(work, parent, place, log, held)
        status, forwarded = _wait(child, held)
        if os.WIFEXITED(status):
            return os.WEXITSTATUS(status)
        end_orphans()
        ended_by = os.WTERMSIG(status)
        if signal.SIGINT in forwarded and ended_by == signal.SIGKILL:
            raise KeyboardInterrupt
        if forwarded and ended_by in (*forwarded, signal.SIGKILL):
            return 128 + (ended_by if ended_by in forwarded else min(forwarded))
        raise _ending(ended_by, kernel_kills() > kills, log)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)
        shutil.rmtree(place, ignore_errors=True)
        os.close(held_place)
        if log.exists() and not log.stat().st_size:
            log.unlink()


def _scratch() -> tuple[Path, int]:
    """A folder for the command's temporary files, and its descriptor: it is locked, which has systemd-tmpfiles leave it
    alone while a server runs for weeks. Raises ``EnginewrightError`` where there is no place for one."""
    import fcntl  # where processes fork

    try:
        place = tempfile.mkdtemp(prefix="enginewright-")
        descriptor = os.open(place, os.O_RDONLY)
        with suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        return Path(place), descriptor
    except OSError as error:
        raise EnginewrightError(f"no temporary folder: {error.strerror or error}", fix=_ANOTHER_FOLDER) from error


def _wait(child: int, mask: Collection[int]) -> tuple[int, set[int]]:
    """The child's status, and the signals that were passed on to it, from now on those that ``mask`` does not hold
    back. Once the patience after one is over, the child is ended; another signal does not prolong it.
    """
    forwarded: set[int] = set()

    def forward(number: int, _: FrameType | None) -> None:
        patience, left = PATIENCE.after(number), signal.getitimer(signal.ITIMER_REAL)[0]
        with suppress(ProcessLookupError):  # it has just ended
            os.kill(child, number)
        if patience != FOR_EVER:
            forwarded.add(number)
            signal.setitimer(signal.ITIMER_REAL, min(patience, left or patience))

    def lose_patience(_: int, __: FrameType | None) -> None:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)

    before = {number: signal.signal(number, forward) for number in heard()}
    before[signal.SIGALRM] = signal.signal(signal.SIGALRM, lose_patience)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    try:
        return os.waitpid(child, 0)[1], forwarded
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        ending = signal.SIG_IGN if forwarded else None  # what is left is to say so: one more must not end that
        for number, handler in before.items():
            signal.signal(number, handler if number == signal.SIGALRM else ending or handler)


def _be_the_child(work: Callable[[], int], parent: int, place: Path, log: Path, mask: Collection[int]) -> None:
    """Run ``work``, from now on with those signals that ``mask`` does not hold back, and end this process; never
    returns."""
    code = FAILED
    try:
        unwind_when_ended()
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.setpgid(0, 0)  # a terminal's Ctrl-C reaches the parent, which passes it on once
        die_with_parent(parent)
        tempfile.tempdir = str(place)
        with log.open("w") as crash_log:
            faulthandler.enable(crash_log)
            code = _run(work, crash_log)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read the output has left
        code = FAILED
    except OSError as error:
        what, fix = (error.filename, _ANOTHER_FOLDER) if error.filename else ("standard output", "send it elsewhere")
        code = _say(f"{what} cannot be written: {error.strerror or error}", fix)
    except Terminated as ended:
        end_by(ended.number)
    except KeyboardInterrupt:  # the second, while the first was told of
        end_by(signal.SIGINT)
    finally:
        sys.stderr.flush()
        os._exit(code)


def _run(work: Callable[[], int], log: TextIO) -> int:
    try:
        return work()
    except MemoryError:
        return _say("memory ran out", "free memory, or give fewer --samples and smaller maximum shapes (--shape)")
    except BrokenPipeError:
        raise
    except OSError as error:
        from graphs.files import NO_SPACE, at_fault  # numpy, which a command that only looks does without

        if error.errno in _NO_PLACE and error.filename:
            what = f"{at_fault(error, Path())}: cannot be written or read: {error.strerror}"
            return _say(what, "choose another place with -o", BAD_INPUT)
        if error.errno not in NO_SPACE:
            return _internal(error, log)
        return _say(f"{at_fault(error, Path('the output'))}: no space left on the disk", "free some space")
    except (Exception, SystemExit) as error:  # whatever nobody foresaw must still reach the user as one message
        return _internal(error, log)


def _internal(error: BaseException, log: TextIO) -> int:
    traceback.print_exception(error, file=log)
    at = f" while at: {where}" if (where := WHEREABOUTS.read()) else ""
    return _say(f"internal error{at}: {type(error).__name__}: {error}", f"report it with {log.name}")


def _say(what: str, fix: str, code: int = FAILED) -> int:
    print(f"optimize: {' '.join(what.split())}\n  fix: {fix}", file=sys.stderr)
    return code


def _ending(number: int, kernel_killed: bool, log: Path) -> EnginewrightError:
    at = f" while at: {where}" if (where := WHEREABOUTS.read()) else ""
    name = signal.Signals(number).name
    if number in ENDING or (number == signal.SIGKILL and not kernel_killed):
        return EnginewrightError(f"killed from outside ({name}){at}")
    if number == signal.SIGKILL:
        fix = (
            "free memory, or give fewer --samples, smaller maximum shapes (--shape) or fewer parallel builds (--jobs 1)"
        )
        return EnginewrightError(f"memory ran out{at}: the system ended the job", fix=fix)
    return EnginewrightError(f"native code crashed ({name}){at}", fix=f"report the model with {log}")
