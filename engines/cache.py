"""The engine cache: plans by content. The same model, shapes, settings, library and GPU are built once.

Lives in ``$ENGINEWRIGHT_CACHE``, else ``$XDG_CACHE_HOME/enginewright``, else ``~/.cache/enginewright``; at most
``$ENGINEWRIGHT_CACHE_MB`` MiB (10 GiB by default), the least recently used entries go first.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from engines.errors import EngineError
from engines.history import FILE_NAME
from engines.manifest import SCHEMA, EngineManifest, check_digest
from engines.profile import ShapeProfile
from graphs.errors import BadInput
from graphs.files import alive, link_or_copy

_DEFAULT_LIMIT_MB = 10 * 1024
_POLL_S = 0.2


@dataclass(frozen=True)
class CacheKey:
    """Everything a plan depends on; two builds with equal keys give interchangeable plans.

    ``model`` is ``model_files.model_digest``: the ONNX bytes and their external data.
    """

    model: str
    profiles: tuple[ShapeProfile, ...]
    sparse_weights: bool
    options: dict[str, str]
    library: str
    library_version: str
    compute_capability: tuple[int, int] | None
    schema: int = SCHEMA

    def digest(self) -> str:
        return hashlib.sha256(msgspec.json.encode(self, order="deterministic")).hexdigest()


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


@dataclass(frozen=True)
class CacheEntry:
    """One kept engine: ``key`` is the digest it lies under, ``bytes`` its size, ``used`` seconds since 1970.

    ``damaged`` entries have no readable manifest; a build that meets one makes it anew.
    """

    key: str
    target: str
    precision: str
    library: str
    bytes: int
    used: float
    damaged: bool = False


class EngineCache:
    """Engine directories by key digest, under ``root/engines``."""

    def __init__(self, root: Path | None = None, limit_mb: int | None = None) -> None:
        self.root = root if root is not None else default_root()
        self._limit = (limit_mb if limit_mb is not None else default_limit_mb()) << 20
        self._entries = self.root / "engines"

    def unusable(self) -> str:
        """Why nothing can be kept here; empty when it can."""
        try:
            (self.root / "locks").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            return f"{self.root}: {error.strerror}"
        return "" if os.access(self.root / "locks", os.W_OK) else f"{self.root}: not writable"

    def timing_cache(self, library_version: str, sm: str) -> Path:
        """The file in which full TensorRT keeps its kernel timings for one GPU type."""
        return self.root / "timing" / f"{library_version}-{sm}.bin"

    @contextmanager
    def building(self, key: CacheKey, on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Hold the right to build ``key``: others, in any process of this machine, wait and then find the entry.

        ``on_wait`` is called a few times a second while waiting. The system drops the lock when its holder dies.
        """
        with (self.root / "locks" / f"{key.digest()}.lock").open("w") as file:
            while not _try_lock(file.fileno()):
                on_wait()
                time.sleep(_POLL_S)
            yield

    def fetch(self, key: CacheKey, destination: Path) -> EngineManifest | None:
        """Put the engine of ``key`` into the existing folder ``destination``; None when there is none.

        The plan is read and checked against its digest first: a damaged entry is dropped, never handed out.
        """
        entry = self._entry(key)
        try:
            manifest = EngineManifest.load(entry)
            check_digest(manifest, entry)
            for file in entry.iterdir():
                link_or_copy(file, destination / file.name)
            os.utime(entry)
        except (BadInput, EngineError, FileNotFoundError):  # absent, damaged, or evicted at this moment
            shutil.rmtree(entry, ignore_errors=True)
            for file in destination.iterdir():
                file.unlink()
            return None
        return manifest

    def store(self, key: CacheKey, directory: Path) -> None:
        """Keep a copy of a complete engine directory, then evict down to the limit. Raises ``OSError``."""
        entry = self._entry(key)
        partial = entry.with_name(f".{entry.name}.{os.getpid()}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        try:
            partial.mkdir(parents=True)
            for file in directory.iterdir():
                if file.is_file():
                    link_or_copy(file, partial / file.name)
            shutil.rmtree(entry, ignore_errors=True)
            partial.rename(entry)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        self.evict(keep=entry.name)

    @property
    def limit(self) -> int:
        """Bytes it may take."""
        return self._limit

    def entries(self) -> list[CacheEntry]:
        """Every kept engine, the most recently used first."""
        return sorted((_describe(path) for path in self._folders()), key=lambda entry: -entry.used)

    def evict(self, keep: str = "", *, limit: int | None = None) -> list[str]:
        """Remove the least recently used entries until ``limit`` bytes hold; returns the keys removed.

        ``keep`` names one that stays; ``limit`` is the cache's own when not given.
        """
        self._remove_leftovers()
        sizes = {path: _size(path) for path in self._folders()}
        total, removed = sum(sizes.values()), []
        for path in sorted(sizes, key=_used):
            if total <= (self._limit if limit is None else limit):
                break
            if path.name != keep:
                shutil.rmtree(path, ignore_errors=True)
                total -= sizes[path]
                removed.append(path.name)
        return removed

    def clear(self) -> int:
        """Remove every engine, timing cache and record of earlier builds; returns the number of engines."""
        removed = self.evict(limit=-1)
        shutil.rmtree(self.root / "timing", ignore_errors=True)
        (self.root / FILE_NAME).unlink(missing_ok=True)
        return len(removed)

    def _folders(self) -> list[Path]:
        if not self._entries.is_dir():
            return []
        return [path for path in self._entries.iterdir() if path.is_dir() and not path.name.startswith(".")]

    def _remove_leftovers(self) -> None:
        """Half-stored entries of processes that were killed; those of living ones are left alone."""
        for path in self._entries.glob(".*.partial") if self._entries.is_dir() else ():
            owner = path.name.split(".")[-2]
            if not owner.isdigit() or not alive(int(owner)):
                shutil.rmtree(path, ignore_errors=True)

    def _entry(self, key: CacheKey) -> Path:
        return self._entries / key.digest()


def _describe(path: Path) -> CacheEntry:
    size, used = _size(path), _used(path)
    try:
        manifest = EngineManifest.load(path)
    except BadInput:
        return CacheEntry(path.name, "?", "?", "?", size, used, damaged=True)
    library = f"{manifest.backend} {manifest.backend_version}"
    return CacheEntry(path.name, manifest.target, manifest.precision, library, size, used)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _size(directory: Path) -> int:
    total = 0
    with suppress(FileNotFoundError):  # another process evicts at the same time
        for file in directory.iterdir():
            total += file.stat().st_size
    return total


def _used(directory: Path) -> float:
    try:
        return directory.stat().st_mtime
    except FileNotFoundError:
        return 0.0
