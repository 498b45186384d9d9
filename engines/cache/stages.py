"""What stages of a job leave, kept by content: the same model, data and settings need not be calibrated twice."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from engines.cache.content import STAGES, ContentCache, folder_size, last_used
from graphs.digests import sha256_file
from graphs.errors import BadInput
from graphs.files import read_json, write_json
from graphs.staging import staged

_ENTRY = "entry.json"
_LARGEST = 4
"""One entry may take this part of the limit, or it would drive out all others. Chosen, not measured."""
_NOTICEABLE = 50
"""After an entry that takes this part of the limit, sizes are added up at once; after smaller ones, now and then.
Chosen."""
_LATELY_S = 60.0
"""Seconds between two such times: adding up ten thousand small entries takes some 0.3 s; a job stores six. Chosen."""
_LOOKED = "stages.looked"
"""A file that is touched when sizes are added up."""


@dataclass(frozen=True)
class StageEntry:
    """``what`` says in words what was kept; ``files`` maps its files to their digests."""

    what: str
    files: dict[str, str]


LONGEST_WAIT_S = 900.0
"""Seconds that a job waits for another that runs the same stage, before it runs it itself. Chosen: ten times what the
largest model of the zoo takes to calibrate on two cores (docs/baselines.md); who holds it may have been stopped.
"""


class StageCache(ContentCache):
    """Folders of finished stages by key, under ``root/stages``. Files are copied in and out, never linked: users edit
    graphs in place, and onnx refuses external data with several links.
    """

    def making(self, key: str, on_wait: Callable[[], None]) -> AbstractContextManager[bool]:
        """Hold the right to run the stage of ``key``: see ``claimed``. Where the context gives True, another job held
        it meanwhile, and may have left the entry.
        """
        return self.claimed(f"{STAGES}-{key}", on_wait, LONGEST_WAIT_S)

    def fetch(self, key: str, destination: Path) -> bool:
        """Copy the entry of ``key`` to ``destination``, in place of what is there; False where there is none.

        Every file is checked against its digest: a damaged entry is dropped, never handed out.
        """
        entry = self.root / STAGES / key
        shutil.rmtree(destination, ignore_errors=True)
        if not entry.is_dir():  # another job may put it there at any moment: nothing is to be dropped
            return False
        try:
            with staged(destination) as staging:  # a run killed here must not find half a stage that looks done
                _copy_out(entry, staging)
        except (BadInput, FileNotFoundError):  # damaged, or evicted at this moment
            shutil.rmtree(entry, ignore_errors=True)
        except OSError:  # no room for the copy: the entry is as good as before
            pass
        else:
            return True
        return False

    def store(self, key: str, directory: Path, what: str) -> None:
        """Keep a copy of a finished stage's folder, unless it takes a quarter of the limit, then evict down to that.
        Raises ``OSError``.
        """
        size = folder_size(directory)
        if size * _LARGEST > self.limit:
            return
        entry = self.root / STAGES / key
        with staged(entry) as staging:
            files = [path for path in sorted(directory.rglob("*")) if path.is_file()]
            for file in files:
                place = staging / file.relative_to(directory)
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, place)
            digests = {str(file.relative_to(directory)): sha256_file(file) for file in files}
            write_json(staging / _ENTRY, StageEntry(what, digests))
        if size * _NOTICEABLE > self.limit or self._not_looked_at_lately():
            self.evict(keep=key)

    def _not_looked_at_lately(self) -> bool:
        """Whether sizes are to be added up again; if so, from now on they have been."""
        mark = self.root / _LOOKED
        if time.time() - last_used(mark) < _LATELY_S:
            return False
        mark.touch()
        return True


def _copy_out(entry: Path, destination: Path) -> None:
    for name, digest in read_json(entry / _ENTRY, StageEntry).files.items():
        (destination / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(entry / name, destination / name)
        if sha256_file(destination / name) != digest:
            raise BadInput("is damaged", where=str(entry))
    os.utime(entry)


def described(entry: Path) -> str:
    """What an entry holds. Raises ``BadInput`` for one that is damaged."""
    return read_json(entry / _ENTRY, StageEntry).what
