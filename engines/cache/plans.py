"""The engine cache: plans by content. The same model, shapes, settings, library and GPU are built once."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from engines.cache.content import ENGINES, STAGES, ContentCache, folder_size, last_used
from engines.cache.history import FILE_NAME
from engines.cache.stages import described
from engines.errors import EngineError
from engines.manifest import SCHEMA, EngineManifest, check_digest
from engines.profile import ShapeProfile
from graphs.digests import sha256
from graphs.errors import BadInput
from graphs.files import link_or_copy
from graphs.staging import staged


@dataclass(frozen=True)
class CacheKey:
    """Everything a plan depends on; two builds with equal keys give interchangeable plans.

    ``model`` is ``model_files.model_digest``: the ONNX bytes and their external data. ``node_types`` are stated where
    the graph's own types are not the network's (TensorRT 8).
    """

    model: str
    profiles: tuple[ShapeProfile, ...]
    sparse_weights: bool
    options: dict[str, str]
    library: str
    library_version: str
    compute_capability: tuple[int, int] | None
    schema: int = SCHEMA
    node_types: dict[str, str] = field(default_factory=dict)

    def digest(self) -> str:
        return sha256(msgspec.json.encode(self, order="deterministic"))


@dataclass(frozen=True)
class CacheEntry:
    """One kept engine, or what a stage left (``target`` is empty then, and ``library`` says what it is): ``key`` is
    the digest it lies under, ``bytes`` its size, ``used`` seconds since 1970.

    ``damaged`` entries have no readable manifest; a build that meets one makes it anew.
    """

    key: str
    target: str
    precision: str
    library: str
    bytes: int
    used: float
    damaged: bool = False


class EngineCache(ContentCache):
    """Engine directories by key digest, under ``root/engines``."""

    def timing_cache(self, library_version: str, sm: str) -> Path:
        """The file in which full TensorRT keeps its kernel timings for one GPU type."""
        return self.root / "timing" / f"{library_version}-{sm}.bin"

    @contextmanager
    def building(self, key: CacheKey, on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Hold the right to build ``key``: others, in any process of this machine, wait and then find the entry.

        ``on_wait`` is called a few times a second while waiting. The system drops the lock when its holder dies.
        """
        with self.claimed(key.digest(), on_wait):
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
        with staged(entry) as staging:
            for file in directory.iterdir():
                if file.is_file():
                    link_or_copy(file, staging / file.name)
        self.evict(keep=entry.name)

    def entries(self) -> list[CacheEntry]:
        """Everything that is kept, what stages left included; the most recently used first."""
        return sorted((_describe(path) for path in self.folders()), key=lambda entry: -entry.used)

    def clear(self) -> int:
        """Remove everything kept, timing caches and records of earlier builds too; returns the number of entries."""
        removed = self.evict(limit=-1)
        shutil.rmtree(self.root / "timing", ignore_errors=True)
        (self.root / FILE_NAME).unlink(missing_ok=True)
        return len(removed)

    def _entry(self, key: CacheKey) -> Path:
        return self.root / ENGINES / key.digest()


def _describe(path: Path) -> CacheEntry:
    size, used = folder_size(path), last_used(path)
    try:
        if path.parent.name == STAGES:
            return CacheEntry(path.name, "", "", described(path), size, used)
        manifest = EngineManifest.load(path)
    except BadInput:
        return CacheEntry(path.name, "?", "?", "?", size, used, damaged=True)
    library = f"{manifest.backend} {manifest.backend_version}"
    return CacheEntry(path.name, manifest.target, manifest.precision, library, size, used)
