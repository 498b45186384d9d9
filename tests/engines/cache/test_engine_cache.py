from __future__ import annotations

import os
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from engines.build import BuildRequest, build_engine
from engines.cache.content import default_root
from engines.cache.plans import CacheKey, EngineCache
from engines.manifest import EngineManifest, check_digest
from engines.profile import ShapeProfile, ShapeRange
from engines.targets.target import TARGETS
from graphs.errors import BadInput

ONE = ShapeProfile({"x": ShapeRange((1, 4), (1, 4), (1, 4)), "z": ShapeRange((1,), (2,), (3,))})
KEY = CacheKey("model", (ONE,), False, {"tf32": "on"}, "tensorrt_rtx", "1.7", (8, 0))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model", "another"),
        ("profiles", (ShapeProfile({**ONE.inputs, "z": ShapeRange((1,), (2,), (4,))}),)),
        ("profiles", (ONE, ONE)),
        ("sparse_weights", True),
        ("options", {"tf32": "off"}),
        ("library", "tensorrt"),
        ("library_version", "1.8"),
        ("compute_capability", (7, 5)),
        ("schema", 99),
    ],
)
def test_every_field_changes_the_key(field: str, value: object) -> None:
    changed = replace(KEY, **{field: value})  # type: ignore[arg-type]
    assert changed.digest() != KEY.digest()


def test_the_order_of_inputs_does_not_change_the_key() -> None:
    turned = ShapeProfile(dict(reversed(ONE.inputs.items())))
    assert replace(KEY, profiles=(turned,)).digest() == KEY.digest()


@pytest.fixture
def built(rtx: None, conv_model: Path, conv_profile: ShapeProfile, tmp_path: Path):
    def build(name: str, target: str = "a100", cache: EngineCache | bool = True, **more) -> EngineManifest:
        request = BuildRequest(conv_model, TARGETS[target], conv_profile, tmp_path / name, "fp32", **more)
        return build_engine(request, cache=cache)

    return build


def from_cache(manifest: EngineManifest) -> bool:
    return any("taken from the engine cache" in note for note in manifest.notes)


def test_the_same_build_is_taken_from_the_cache(built, tmp_path: Path) -> None:
    first, again = built("first"), built("again", "a100")
    assert (from_cache(first), from_cache(again)) == (False, True)
    assert again.file_digest == first.file_digest
    assert (tmp_path / "again" / "engine.plan").read_bytes() == (tmp_path / "first" / "engine.plan").read_bytes()
    check_digest(EngineManifest.load(tmp_path / "again"), tmp_path / "again")


def test_a_build_afresh_takes_nothing_and_leaves_its_own(built) -> None:
    """``--force`` took every plan from the cache."""
    built("first")
    assert not from_cache(built("again", afresh=True))
    assert from_cache(built("after"))


def test_cache_can_be_turned_off(built) -> None:
    built("first", cache=False)
    assert not from_cache(built("again", cache=False))
    assert list(default_root().iterdir()) == []


def test_another_target_or_option_is_built(built) -> None:
    built("first")
    assert not from_cache(built("t4", target="l4"))
    assert not from_cache(built("option", options={"tf32": "off"}))
    assert not from_cache(built("sparse", sparse_weights=True))


@pytest.mark.parametrize("damage", ["truncate", "flip", "delete"])
def test_a_damaged_plan_is_never_handed_out(built, tmp_path: Path, damage: str) -> None:
    built("first")
    (plan,) = default_root().glob("engines/*/engine.plan")
    content = plan.read_bytes()
    plan.unlink()
    if damage == "truncate":
        plan.write_bytes(content[:-1])
    elif damage == "flip":
        plan.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    again = built("again")
    assert not from_cache(again)
    check_digest(again, tmp_path / "again")
    assert from_cache(built("third"))


def test_builds_of_one_key_at_the_same_time_build_once(built, monkeypatch: pytest.MonkeyPatch) -> None:
    manifests: list[EngineManifest] = []
    threads = [threading.Thread(target=lambda n=n: manifests.append(built(f"out{n}"))) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(from_cache, manifests)) == [False, True, True]


def test_least_recently_used_entries_go_first(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path / "cache", limit_mb=2)
    engine = tmp_path / "engine"
    engine.mkdir()
    (engine / "engine.plan").write_bytes(bytes(900_000))
    keys = [replace(KEY, model=str(n)) for n in range(3)]
    for age, key in enumerate(keys[:2]):
        cache.store(key, engine)
        os.utime(cache._entry(key), (1000 + age, 1000 + age))
    os.utime(cache._entry(keys[0]), (2000, 2000))  # used since
    shutil.copytree(engine, tmp_path / "other")
    cache.store(keys[2], tmp_path / "other")
    assert [cache._entry(key).exists() for key in keys] == [True, False, True]


def test_an_entry_over_the_limit_is_kept_until_the_next(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path / "cache", limit_mb=0)
    engine = tmp_path / "engine"
    engine.mkdir()
    (engine / "engine.plan").write_bytes(bytes(10))
    cache.store(KEY, engine)
    assert cache._entry(KEY).exists()


def test_a_cache_that_cannot_be_written_costs_no_engine(built, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    manifest = built("out", cache=EngineCache(tmp_path / "file" / "cache"))
    assert (tmp_path / "out" / "engine.plan").exists()
    assert any("engine cache off" in note for note in manifest.notes)


def test_location_and_limit_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ENGINEWRIGHT_CACHE", str(tmp_path / "here"))
    assert default_root() == tmp_path / "here"
    monkeypatch.delenv("ENGINEWRIGHT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_root() == tmp_path / "enginewright"
    monkeypatch.setenv("ENGINEWRIGHT_CACHE_MB", "lots")
    with pytest.raises(BadInput, match="lots"):
        EngineCache()
