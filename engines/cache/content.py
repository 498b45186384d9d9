"""What is kept between runs, by content: folders that lie under the digest of all they depend on.

Lives in ``$ENGINEWRIGHT_CACHE``, else ``$XDG_CACHE_HOME/enginewright``, else ``~/.cache/enginewright``; at most
``$ENGINEWRIGHT_CACHE_MB`` MiB (10 GiB by default), the least recently used entries go first.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from graphs.errors import BadInput
from graphs.staging import remove_leftovers

ENGINES, STAGES = "engines", "stages"
KINDS = (ENGINES, STAGES)
"""Built engines, and what stages of a job leave (float graphs, calibrations, typed forms): one limit holds for all."""
_DEFAULT_LIMIT_MB = 10 * 1024
"""MiB. Chosen: room for some 45 FP16 plans of BERT-base (225 MB each, docs/engines.md)."""
_LOCKS = "locks"
_POLL_S = 0.2
"""Seconds between looks at a lock that another holds: as long as the shortest build takes (docs/engines.md). Chosen."""
_OLD_LOCK_S = 86_400.0
"""Age at which the file of a lock that nobody holds is removed. Chosen."""


def default_root() -> Path:
    """Where the cache lives when nobody says otherwise."""
    if chosen := os.environ.get("ENGINEWRIGHT_CACHE"):
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "enginewright"


def default_limit_mb() -> int:
    """Size limit in MiB. Raises ``BadInput`` for a value that is no number."""
    text = os.environ.get("ENGINEWRIGHT_CACHE_MB", "")
    if text and not text.isdigit():
        raise BadInput(f"{text!r} is not a size in MiB", where="$ENGINEWRIGHT_CACHE_MB", expected="a whole number")
    return int(text) if text else _DEFAULT_LIMIT_MB


class ContentCache:
    """Folders by kind and key, under ``root/<kind>/<key>``; what of them may be handed out, subclasses know."""

    def __init__(self, root: Path | None = None, limit_mb: int | None = None) -> None:
        self.root = root if root is not None else default_root()
        self._limit = (limit_mb if limit_mb is not None else default_limit_mb()) << 20

    def unusable(self) -> str:
        """Why nothing can be kept here; empty when it can."""
        try:
            (self.root / _LOCKS).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            return f"{self.root}: {error.strerror}"
        return "" if os.access(self.root / _LOCKS, os.W_OK) else f"{self.root}: not writable"

    @contextmanager
    def claimed(
        self, name: str, on_wait: Callable[[], None] = lambda: None, longest_s: float | None = None
    ) -> Iterator[bool]:
        """Hold the right to make ``name``, which no other process of this machine holds then; yields whether one did.

        ``on_wait`` is called a few times a second while waiting; after ``longest_s`` the wait ends without the right.
        The system drops the lock when its holder dies. Raises ``OSError`` where no lock can be written.
        """
        started, waited = time.monotonic(), False
        with (self.root / _LOCKS / f"{name}.lock").open("w") as file:
            while not _try_lock(file.fileno()):
                if longest_s is not None and time.monotonic() - started > longest_s:
                    break
                waited = True
                on_wait()
                time.sleep(_POLL_S)
            yield waited

    @property
    def limit(self) -> int:
        """Bytes it may take."""
        return self._limit

    def folders(self) -> list[Path]:
        """Every entry of every kind, in no order."""
        return [path for path in self._children() if path.is_dir() and not path.name.startswith(".")]

    def evict(self, keep: str = "", *, limit: int | None = None) -> list[str]:
        """Remove the least recently used entries until ``limit`` bytes hold; returns the keys removed.

        ``keep`` names one that stays; ``limit`` is the cache's own when not given.
        """
        for kind in KINDS:
            remove_leftovers(self.root / kind)
        self._forget_old_locks()
        sizes = {path: folder_size(path) for path in self.folders()}
        total, removed = sum(sizes.values()), []
        for path in sorted(sizes, key=last_used):
            if total <= (self._limit if limit is None else limit):
                break
            if path.name != keep:
                shutil.rmtree(path, ignore_errors=True)
                total -= sizes[path]
                removed.append(path.name)
        return removed

    def _forget_old_locks(self) -> None:
        """Files of locks that nobody has held for long: every key has one of its own."""
        for lock in (self.root / _LOCKS).glob("*.lock"):
            if time.time() - last_used(lock) > _OLD_LOCK_S:
                with suppress(OSError), lock.open("r+") as file:
                    if _try_lock(file.fileno()):
                        lock.unlink()

    def _children(self) -> Iterator[Path]:
        for kind in KINDS:
            folder = self.root / kind
            if folder.is_dir():
                yield from folder.iterdir()


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def folder_size(directory: Path) -> int:
    """Bytes of all files in it."""
    total = 0
    with suppress(FileNotFoundError):  # another process evicts at the same time
        for file in directory.rglob("*"):
            total += file.stat().st_size if file.is_file() else 0
    return total


def last_used(directory: Path) -> float:
    """Seconds since 1970; 0 for an entry that is gone."""
    try:
        return directory.stat().st_mtime
    except FileNotFoundError:
        return 0.0
