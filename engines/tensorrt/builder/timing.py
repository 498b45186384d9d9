"""The timing cache: how long each kernel took on one kind of GPU, kept between builds by full TensorRT.

One file per library version and compute capability. TensorRT trusts what it is given, so the file says in a first line
whose it is, and holds a digest: a foreign, cut off or altered one is dropped with a warning and made anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.tensorrt.library import Library
from graphs.digests import sha256
from graphs.files import write_atomically

_MAGIC = b"enginewright timing cache 1"


@dataclass(frozen=True)
class TimingCache:
    """Where the timings of ``owner`` (library, version, compute capability) are kept."""

    path: Path
    owner: str

    def attach(self, config: Any) -> str:
        """Give ``config`` the kept timings, or an empty cache; returns a warning where what was kept was dropped."""
        content, warning = self._read()
        if not _attached(config, content):
            warning = f"the timing cache {self.path} was refused by the library; a new one is made"
            _attached(config, b"")
        return warning

    def save(self, config: Any) -> None:
        """Keep the timings of the build that ``config`` was used for."""
        cache = config.get_timing_cache()
        if cache is None:
            return
        content = bytes(cache.serialize())
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self.path, self._header(content) + content)

    def _read(self) -> tuple[bytes, str]:
        if not self.path.is_file():
            return b"", ""
        header, separator, content = self.path.read_bytes().partition(b"\n")
        if not separator or not header.startswith(_MAGIC):
            return b"", f"the timing cache {self.path} is damaged; a new one is made"
        if header + separator == self._header(content):
            return content, ""
        foreign = self.owner.encode() not in header
        why = f"is not of {self.owner}" if foreign else "is damaged"
        return b"", f"the timing cache {self.path} {why}; a new one is made"

    def _header(self, content: bytes) -> bytes:
        return b"|".join((_MAGIC, self.owner.encode(), sha256(content).encode())) + b"\n"


def timing_cache(library: Library, path: str | None, sm: str) -> TimingCache | None:
    """The timing cache of a build; None where there is none to keep (TensorRT-RTX times no kernels)."""
    if path is None or not library.capabilities.timing_cache:
        return None
    return TimingCache(Path(path), f"{library.title} {sm}")


def _attached(config: Any, content: bytes) -> bool:
    cache = config.create_timing_cache(content)
    return cache is not None and bool(config.set_timing_cache(cache, ignore_mismatch=False))
