"""The timing cache file: kept, given back, and dropped with a warning where it is not this build's."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engines.tensorrt.builder.timing import TimingCache, timing_cache
from engines.tensorrt.capabilities import Capabilities
from engines.tensorrt.library import Library


class Config:
    """Full TensorRT's part: it takes timings, may refuse them, and gives them back longer by one."""

    def __init__(self, refuses: bytes = b"\0") -> None:
        self.refuses, self.given = refuses, b"unset"

    def create_timing_cache(self, content: bytes) -> Any:
        return SimpleNamespace(content=content, serialize=lambda: content + b"!")

    def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
        assert ignore_mismatch is False
        self.given = cache.content
        return not cache.content.startswith(self.refuses)

    def get_timing_cache(self) -> Any:
        return self.create_timing_cache(self.given)


@pytest.fixture
def kept(tmp_path: Path) -> TimingCache:
    cache = TimingCache(tmp_path / "timing" / "11.4-SM80.bin", "TensorRT 11.4 SM80")
    config = Config()
    assert cache.attach(config) == ""
    cache.save(config)
    return cache


def test_timings_are_given_back_and_grow(kept: TimingCache) -> None:
    config = Config()
    assert kept.attach(config) == ""
    assert config.given == b"!"
    kept.save(config)
    kept.attach(config)
    assert config.given == b"!!"


@pytest.mark.parametrize("damage", ["cut", "flip", "garbage", "raw"])
def test_a_damaged_file_is_dropped_with_a_warning(kept: TimingCache, damage: str) -> None:
    content = kept.path.read_bytes()
    broken = {"cut": content[:-1], "flip": content[:-1] + b"?", "garbage": b"\xff" * 64, "raw": b""}
    kept.path.write_bytes(broken[damage])
    config = Config()
    warning = kept.attach(config)
    assert "damaged" in warning and str(kept.path) in warning
    assert config.given == b""
    kept.save(config)
    assert kept.attach(Config()) == ""


@pytest.mark.parametrize("owner", ["TensorRT 11.4 SM75", "TensorRT 10.13 SM80"])
def test_a_foreign_file_is_dropped_with_a_warning(kept: TimingCache, owner: str) -> None:
    config = Config()
    assert f"is not of {owner}" in TimingCache(kept.path, owner).attach(config)
    assert config.given == b""


def test_what_the_library_refuses_is_dropped_with_a_warning(kept: TimingCache) -> None:
    config = Config(refuses=b"!")
    assert "refused by the library" in kept.attach(config)
    assert config.given == b""


def test_rtx_keeps_none() -> None:
    nothing = Capabilities(timing_cache=False)
    library = Library(SimpleNamespace(), "tensorrt_rtx", "1.7", nothing)  # type: ignore[arg-type]
    assert timing_cache(library, "somewhere", "SM80") is None
