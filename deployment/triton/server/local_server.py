"""A tritonserver of one's own for a while: on the loopback, on free ports, gone with its context."""

from __future__ import annotations

import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from deployment.triton.server.control import ServerControl
from deployment.triton.server.files import ServerFiles
from engines.errors import EngineError
from engines.processes.child_process import Child

START_SECONDS = 120.0
"""For the server to answer. It took 5 s on one core; a busy machine takes many times that. Chosen."""
STOP_SECONDS = 15.0
"""For the server to end by itself once asked; then it is killed. Chosen."""
COME_UP_SECONDS = 5.0
"""For a server that starts to answer before it is told to end. Chosen: it took two on a quiet core."""
_HOST = "127.0.0.1"
_SHARED_MEMORY = Path("/dev/shm")
_TAKEN = ("address already in use", "failed to start http service", "failed to start grpc service")


@contextmanager
def local_server(files: ServerFiles, repository: Path, options: Sequence[str] = ()) -> Iterator[ServerControl]:
    """Start ``files`` on ``repository``, wait until it answers, and end it and all it started afterwards.

    Models are loaded explicitly, so that they can be loaded again with another configuration. A model that does not
    load leaves the server running: ``ServerControl.check_loaded`` says why. Raises ``EngineError`` where the server
    ends or does not answer within ``START_SECONDS``.
    """
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="optimize-triton-")))
        backends = files.assemble(scratch / "backends")
        log = scratch / "log"
        for _attempt in range(3):
            with suppress(_PortTaken):
                yield stack.enter_context(_running(files, backends, repository, options, log))
                return
        raise EngineError("found no free port three times in a row", where=_HOST)


class _PortTaken(Exception):
    """Another process took a port between our finding it free and the server's opening it."""


@contextmanager
def _running(
    files: ServerFiles, backends: Path, repository: Path, options: Sequence[str], log: Path
) -> Iterator[ServerControl]:
    http, grpc, metrics = _free_ports(3)
    region = f"optimize_{secrets.token_hex(6)}_"
    arguments = [
        str(files.binary),
        f"--model-repository={repository.resolve()}",
        f"--backend-directory={backends}",
        *([f"--cache-directory={files.caches}"] if files.caches else []),
        *(f"--{kind}-address={_HOST}" for kind in ("http", "grpc", "metrics")),
        f"--http-port={http}",
        f"--grpc-port={grpc}",
        f"--metrics-port={metrics}",
        "--exit-on-error=false",
        "--strict-readiness=false",
        "--exit-timeout-secs=3",
        "--model-control-mode=explicit",
        "--load-model=*",
        f"--backend-config=python,shm-region-prefix-name={region}",
        *options,
    ]
    try:
        with (
            log.open("wb") as written,
            Child(
                "deployment.triton.server.exec_server",
                *arguments,
                environment=files.environment(),
                stdout=written,
                stderr=subprocess.STDOUT,
            ) as child,
        ):
            control = ServerControl(f"{_HOST}:{grpc}", f"{_HOST}:{http}", f"{_HOST}:{metrics}")
            try:
                try:
                    _wait(child, control, log)
                except KeyboardInterrupt:
                    _let_come_up(child, control)
                    raise
                yield control
            finally:
                control.close()
                _stop(child)
    finally:
        _remove_regions(region)


def _wait(child: Child, control: ServerControl, log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while not control.ready():
        code = child.process.poll()
        words = log.read_text(errors="replace")
        if code is not None:
            if any(taken in words.lower() for taken in _TAKEN):
                raise _PortTaken
            raise EngineError(f"ended while starting: {_cause(words)}", where="tritonserver")
        if time.monotonic() > until:
            raise EngineError(f"did not answer within {START_SECONDS:g} s: {_cause(words)}", where="tritonserver")
        time.sleep(0.1)


def _let_come_up(child: Child, control: ServerControl) -> None:
    """A server that is told to end while it starts leaves its files."""
    until = time.monotonic() + COME_UP_SECONDS
    while child.process.poll() is None and not control.ready() and time.monotonic() < until:
        time.sleep(0.1)


def _stop(child: Child) -> None:
    """Ask the server to end, which frees its shared memory and a folder in ``/tmp`` that its Python backend makes; then
    end whatever is left of its session."""
    if child.process.poll() is None:
        child.process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            child.process.wait(STOP_SECONDS)
    child.kill()


def _remove_regions(prefix: str) -> None:
    """Shared memory of a Python backend that was killed; one that ended by itself leaves none."""
    for path in _SHARED_MEMORY.glob(f"{prefix}*"):
        with suppress(OSError):
            path.unlink() if path.is_file() else shutil.rmtree(path)


def _cause(words: str) -> str:
    """The first error of a log, from which others follow; else its last line."""
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("E") or "error" in line.lower()]
    return (errors or lines[-1:] or ["it wrote nothing"])[0]


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((_HOST, 0))
        return [each.getsockname()[1] for each in sockets]
