"""``optimize serve``: bundles behind the Open Inference Protocol, until a signal says to stop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from deployment.serving.limits import Limits
from deployment.serving.server import Endpoint, Server
from deployment.serving.version import ServingOptions
from graphs.errors import BadInput
from optimizer.bundle import Bundle
from optimizer.version import version


def serve_bundles(
    given: Sequence[str],
    options: ServingOptions,
    limits: Limits,
    endpoint: Endpoint,
    *,
    drain_seconds: float,
    announce: Callable[[str], None],
    say: Callable[[str], None],
) -> None:
    """Serve ``given`` (``BUNDLE`` or ``NAME=BUNDLE``) until SIGTERM or SIGINT; SIGHUP reads all bundles anew.

    ``announce`` hears once where the server listens, ``say`` what happens. Raises ``BadInput`` for what is no bundle, a
    port that is taken or a library that is missing; ``EngineError`` for an engine that does not open.
    """
    server = Server(named_bundles(given), options, limits, endpoint, version=version(), say=say)
    asyncio.run(_serve(server, drain_seconds, announce, say))


async def _serve(
    server: Server, drain_seconds: float, announce: Callable[[str], None], say: Callable[[str], None]
) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    reloading: set[asyncio.Task[None]] = set()

    def reload() -> None:
        task = loop.create_task(server.repository.load_all())
        reloading.add(task)
        task.add_done_callback(reloading.discard)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, reload)
    if not await _unless(stop, server.start()):
        say("stopped before anything was served")
        return
    announce(f"serving {', '.join(server.repository.models)} on {' and '.join(server.addresses)}")
    await stop.wait()
    say("stopping: requests that have begun are answered")
    await server.stop(drain_seconds)


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Whether ``work`` was done before ``stop`` was set; else it is cancelled. Raises what it raises."""
    working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if working.done():
        working.result()
        return True
    working.cancel()
    with suppress(asyncio.CancelledError):
        await working
    return False


def named_bundles(given: Sequence[str]) -> dict[str, list[Path]]:
    """Model name -> its bundles. A name given twice has two versions, of which the last answers where a request names
    none. Raises ``BadInput`` for what is no bundle or gives no name.
    """
    found: dict[str, list[Path]] = {}
    for word in given:
        name, path = _parted(word)
        opened = Bundle(Path(path))
        bundle, name = opened.path, name or opened.name
        if not name or "/" in name:
            raise BadInput(f"{name!r} is no model name", where=word, expected="NAME=BUNDLE")
        if bundle.resolve() in (other.resolve() for other in found.get(name, ())):
            raise BadInput("given twice", where=word)
        found.setdefault(name, []).append(bundle)
    return found


def _parted(word: str) -> tuple[str, str]:
    """The name, empty where none is given, and the bundle: names and folders may hold a ``=``, too."""
    if "=" not in word or Path(word).exists():
        return "", word
    places = [number for number, letter in enumerate(word) if letter == "="]
    parted = [(word[:place], word[place + 1 :]) for place in places]
    return next(((name, path) for name, path in parted if Path(path).exists()), parted[0])


def read_token(file: Path | None) -> str:
    """The first line of ``file``; empty without one. Raises ``BadInput`` for a file that holds none."""
    if file is None:
        return ""
    try:
        token = file.read_text().strip().partition("\n")[0].strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "is no text"
        raise BadInput(f"cannot be read: {why}", where=str(file)) from error
    if not token or not token.isascii() or not token.isprintable():
        raise BadInput("holds no token", where=str(file), expected="one line of printable ASCII characters")
    return token
