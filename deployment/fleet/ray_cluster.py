"""Builds on a Ray cluster: each a task, placed by accelerator type; a lost worker's is run again elsewhere."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from deployment.fleet.building_there import MODEL, Built, Refused, build_there, installed_version
from deployment.fleet.placement import check_places, resources_for
from engines.build import BuildProgress, BuildRequest
from engines.errors import BuildError, BuildFailure
from engines.manifest import EngineManifest
from engines.processes.child_process import last_line
from engines.progress import OnProgress
from engines.targets.target import Target
from graphs.errors import BadInput
from graphs.optional_packages import optional
from graphs.staging import staged
from graphs.storage.model_files import external_files

RETRIES = 3
"""Times a build is started again when its worker or node is lost; Ray's own default."""
TICK_S = 0.5
"""Seconds between two looks at a build: how soon Ctrl-C ends it. Chosen."""
LOST_S = 300.0
"""Seconds for which a build waits where no node is left that it could run on: an autoscaler, or somebody, may bring
another. Chosen. One that has a place waits for its turn as long as that takes."""
KNOCK_S = 5.0
"""Seconds in which a cluster's port must answer. Ray itself would try for minutes and say so in its own words.
Chosen."""


def _knock(address: str) -> None:
    """Raises ``BadInput`` where nobody listens at ``HOST:PORT`` or ``ray://HOST:PORT``; other addresses are names."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), timeout=KNOCK_S).close()
    except (OSError, OverflowError) as error:
        raise BadInput(f"no Ray cluster: {error}", where=f"--ray {address}", fix="ray start --head") from None


_AUTH, _TOKEN = "RAY_AUTH_MODE", ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
_FIX = f"ray start --head; for one that asks for a token: export {_AUTH}=token {_TOKEN[1]}=FILE"


def _show_token() -> None:
    """Have Ray show the token that it finds where it looks for one. ``ray start`` makes a cluster that asks for it
    (from 2.60 on), and ``ray.init`` shows none to a cluster that is there unless this variable says so; one that asks
    for none takes no notice. Ray reads the variable when it is imported."""
    kept = Path.home() / ".ray" / "auth_token"
    if kept.is_file() or any(os.environ.get(name) for name in _TOKEN):
        os.environ.setdefault(_AUTH, "token")


class RayCluster:
    """A connection to Ray: ``address`` as ``ray.init`` takes it (``auto``, ``HOST:PORT``, ``ray://…``), or ``local``
    for a cluster of this machine's cores. A context manager.

    Raises ``BadInput`` where Ray is not installed or not to be reached.
    """

    def __init__(self, address: str) -> None:
        self.address, self._ours, self._ended = address, False, False
        self._before: Any = None
        if address != "local":
            _show_token()
        self._ray = optional("ray", "fleet", "building on a cluster")

    def __enter__(self) -> RayCluster:
        if self._ray.is_initialized():
            return self
        _knock(self.address)
        self._before = signal.getsignal(signal.SIGTERM)
        try:
            self._ray.init(
                address=None if self.address == "local" else self.address,
                include_dashboard=False if self.address == "local" else None,
                log_to_driver=False,
                logging_level="ERROR",
            )
        except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
            first = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise BadInput(f"no Ray cluster: {first}", where=f"--ray {self.address}", fix=_FIX) from None
        except BaseException as error:  # SIGTERM, which Ray takes for itself from here on, or Ctrl-C
            self._ours, self._ended = True, isinstance(error, SystemExit)
            self._leave()
            raise
        self._ours = True
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._terminated)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._ours:
            self._leave()

    def _leave(self) -> None:
        self._ray.shutdown()
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._before)
        if self._ended:
            signal.raise_signal(signal.SIGTERM)

    def _terminated(self, *_: object) -> None:
        """In place of Ray's own handler: leave the context, so that nothing of Ray stays, then end as one would have
        without Ray. ``SystemExit`` would be taken for the user's, where the user's metric runs."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second must not end the leaving
        self._ended = True
        raise KeyboardInterrupt

    def check(self, targets: Sequence[Target]) -> None:
        """Raises ``BadInput`` naming the targets that no node can build for."""
        check_places(targets, self._offered(), self.address)

    def _offered(self) -> list[str]:
        return list(self._ray.cluster_resources())

    def build(self, request: BuildRequest, on_progress: OnProgress | None = None) -> EngineManifest:
        """``engines.build.build_engine`` elsewhere: the engine comes back into ``request.out``. Raises what that does,
        ``BuildError`` also where workers were lost ``RETRIES`` times.
        """
        if plugins := request.options.get("plugins"):
            raise BadInput("plugin libraries are files of this machine", where=plugins, fix="build without --ray")
        files = {MODEL: request.model.read_bytes()}
        files |= {name: (request.model.parent / name).read_bytes() for name in external_files(request.model)}
        task = self._ray.remote(max_retries=RETRIES, num_cpus=1)(build_there)
        where = resources_for(request.target, self._offered())
        placed = task.options(resources=where, name=f"build {request.target.name}")
        asked = placed.remote(request, self._ray.put(files), installed_version())
        found = self._answer(asked, ("CPU", *where), request.target.name, on_progress or (lambda _: None))
        if isinstance(found, Refused):
            raise found.error()
        with staged(request.out) as folder:
            for name, content in found.files.items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(content)
        return EngineManifest.load(request.out)

    def _answer(self, asked: Any, needs: Sequence[str], name: str, on_progress: OnProgress) -> Built | Refused:
        """What comes back. A build's time limit is the worker's to keep: how long it waits for a node is no part of it.
        Raises ``BuildError`` where for ``LOST_S`` no node has all that it ``needs``."""
        started = had_place = time.perf_counter()
        target = f"target {name}"
        try:
            while not self._ray.wait([asked], timeout=TICK_S)[0]:
                now = time.perf_counter()
                on_progress(BuildProgress("on the cluster", now - started))
                missing = sorted(set(needs) - set(self._offered()))
                had_place = had_place if missing else now
                if now - had_place > LOST_S:
                    what = f"for {now - had_place:.0f} s no node of the cluster has {', '.join(missing)}"
                    raise BuildError(
                        BuildFailure.TIMEOUT, what, where=target, fix="start one again, or build without --ray"
                    )
            found: Built | Refused = self._ray.get(asked)
        except self._ray.exceptions.RayTaskError as error:  # no worker was lost: the last line is what went wrong there
            what = f"the worker could not do it: {last_line(str(error))}"
            raise BuildError(BuildFailure.CRASH, what, where=target) from None
        except self._ray.exceptions.RayError as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            what = f"the cluster lost it, {RETRIES} more tries included: {lines[0]}"
            raise BuildError(BuildFailure.CRASH, what, where=target) from None
        except BaseException:
            self._ray.cancel(asked, force=True)
            raise
        return found
