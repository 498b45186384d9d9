"""What stages leave, kept by content: handed out whole or not at all, under one limit with engines."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engines.cache.plans import EngineCache
from engines.cache.stages import StageCache


@pytest.fixture
def left(tmp_path: Path) -> Path:
    folder = tmp_path / "left"
    (folder / "0").mkdir(parents=True)
    (folder / "result.json").write_text("{}")
    (folder / "0" / "model.onnx").write_bytes(bytes(1000))
    return folder


def test_a_folder_comes_back_as_it_was(tmp_path: Path, left: Path) -> None:
    cache, out = StageCache(tmp_path / "cache"), tmp_path / "out"
    assert not cache.fetch("key", out) and not out.exists()
    cache.store("key", left, "m.onnx: calibrate")
    out.mkdir()
    (out / "stale").write_text("of an earlier try")
    assert cache.fetch("key", out)
    assert {str(p.relative_to(out)) for p in out.rglob("*") if p.is_file()} == {"result.json", "0/model.onnx"}


def test_what_is_handed_out_may_be_edited_in_place(tmp_path: Path, left: Path) -> None:
    cache = StageCache(tmp_path / "cache")
    cache.store("key", left, "")
    assert cache.fetch("key", tmp_path / "first")
    with (tmp_path / "first" / "0" / "model.onnx").open("r+b") as file:
        file.write(b"edited")
    assert cache.fetch("key", tmp_path / "second")
    assert (tmp_path / "second" / "0" / "model.onnx").read_bytes() == bytes(1000)


@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_a_damaged_entry_is_dropped(tmp_path: Path, left: Path, damage: str) -> None:
    cache = StageCache(tmp_path / "cache")
    cache.store("key", left, "")
    file = tmp_path / "cache" / "stages" / "key" / "0" / "model.onnx"
    file.write_bytes(b"x") if damage == "changed" else file.unlink()
    assert not cache.fetch("key", tmp_path / "out")
    assert not (tmp_path / "out").exists() and cache.folders() == []


def test_one_limit_holds_for_stages_and_engines(tmp_path: Path, left: Path) -> None:
    (left / "0" / "model.onnx").write_bytes(bytes(200_000))
    cache = StageCache(tmp_path / "cache", limit_mb=1)
    engine = tmp_path / "cache" / "engines" / "old"
    engine.mkdir(parents=True)
    (engine / "engine.plan").write_bytes(bytes(700_000))
    os.utime(engine, (1, 1))
    for key in ("a", "b"):
        cache.store(key, left, f"{key}.onnx: calibrate")
    assert {path.name for path in cache.folders()} == {"a", "b"}
    listed = EngineCache(tmp_path / "cache").entries()
    assert {(entry.key, entry.library) for entry in listed} == {("a", "a.onnx: calibrate"), ("b", "b.onnx: calibrate")}


def test_what_would_drive_out_the_rest_is_not_kept(tmp_path: Path, left: Path) -> None:
    (left / "0" / "model.onnx").write_bytes(bytes(400_000))
    cache = StageCache(tmp_path / "cache", limit_mb=1)
    cache.store("key", left, "")
    assert cache.folders() == []


def test_many_small_entries_do_not_have_their_sizes_added_up_at_every_store(
    tmp_path: Path, left: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, evictions = StageCache(tmp_path / "cache"), []
    monkeypatch.setattr(cache, "evict", lambda keep: evictions.append(keep))
    for key in ("a", "b", "c"):
        cache.store(key, left, "")
    assert evictions == ["a"]
    os.utime(tmp_path / "cache" / "stages.looked", (1, 1))
    cache.store("d", left, "")
    assert evictions == ["a", "d"]


def test_a_run_killed_while_taking_an_entry_finds_nothing_of_it(
    tmp_path: Path, left: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = StageCache(tmp_path / "cache")
    cache.store("key", left, "")
    copied = []

    def killed(source: Path, destination: Path) -> None:
        if copied:
            raise KeyboardInterrupt
        copied.append(destination)
        destination.write_bytes(source.read_bytes())

    monkeypatch.setattr("engines.cache.stages.shutil.copyfile", killed)
    with pytest.raises(KeyboardInterrupt):
        cache.fetch("key", tmp_path / "out")
    assert copied and not (tmp_path / "out").exists()


def test_what_is_not_there_is_not_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another job may have stored it by then."""
    removed = []
    monkeypatch.setattr("engines.cache.stages.shutil.rmtree", lambda path, **_: removed.append(path))
    assert not StageCache(tmp_path / "cache").fetch("key", tmp_path / "out")
    assert removed == [tmp_path / "out"]


def test_locks_that_nobody_has_held_for_long_are_forgotten(tmp_path: Path) -> None:
    cache = StageCache(tmp_path / "cache")
    assert not cache.unusable()
    with cache.claimed("held"), cache.claimed("left"):
        pass
    with cache.claimed("held"), cache.claimed("new"):
        for name in ("held", "left"):
            os.utime(tmp_path / "cache" / "locks" / f"{name}.lock", (1, 1))
        cache.evict()
        assert {path.name for path in (tmp_path / "cache" / "locks").iterdir()} == {"held.lock", "new.lock"}
