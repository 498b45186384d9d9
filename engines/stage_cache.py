"""What stages of a job leave, kept by content: the same model, data and settings need not be calibrated twice."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from engines.content_cache import STAGES, ContentCache, folder_size
from graphs.errors import BadInput
from graphs.files import read_json, sha256_file, write_json

_ENTRY = "entry.json"
_LARGEST = 4
"""One entry may take this part of the limit, or it would drive out all others. Chosen, not measured."""


@dataclass(frozen=True)
class StageEntry:
    """``what`` says in words what was kept; ``files`` maps its files to their digests."""

    what: str
    files: dict[str, str]


class StageCache(ContentCache):
    """Folders of finished stages by key, under ``root/stages``. Files are copied in and out, never linked: users edit
    graphs in place, and onnx refuses external data with several links.
    """

    def fetch(self, key: str, destination: Path) -> bool:
        """Copy the entry of ``key`` to ``destination``, in place of what is there; False where there is none.

        Every file is checked against its digest: a damaged entry is dropped, never handed out.
        """
        entry = self.root / STAGES / key
        shutil.rmtree(destination, ignore_errors=True)
        try:
            files = read_json(entry / _ENTRY, StageEntry).files
            for name, digest in files.items():
                (destination / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(entry / name, destination / name)
                if sha256_file(destination / name) != digest:
                    raise BadInput("is damaged", where=str(entry))
            os.utime(entry)
        except (BadInput, OSError):  # absent, damaged, or evicted at this moment
            shutil.rmtree(entry, ignore_errors=True)
            shutil.rmtree(destination, ignore_errors=True)
            return False
        return True

    def store(self, key: str, directory: Path, what: str) -> None:
        """Keep a copy of a finished stage's folder, unless it takes a quarter of the limit, then evict down to that.
        Raises ``OSError``.
        """
        if folder_size(directory) * _LARGEST > self.limit:
            return
        entry = self.root / STAGES / key
        partial = entry.with_name(f".{key}.{os.getpid()}.partial")
        try:
            partial.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(directory, partial)
            names = sorted(str(path.relative_to(partial)) for path in partial.rglob("*") if path.is_file())
            write_json(partial / _ENTRY, StageEntry(what, {name: sha256_file(partial / name) for name in names}))
            shutil.rmtree(entry, ignore_errors=True)
            partial.rename(entry)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        self.evict(keep=key)


def described(entry: Path) -> str:
    """What an entry holds. Raises ``BadInput`` for one that is damaged."""
    return read_json(entry / _ENTRY, StageEntry).what
