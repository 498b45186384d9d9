"""Which bundles ``optimize serve`` is given, under which names."""

from __future__ import annotations

from pathlib import Path

import pytest

from graphs.errors import BadInput
from optimizer.verbs.serve import named_bundles


@pytest.fixture(autouse=True)
def bundles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("net.optimized", "a=b.optimized", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.json").write_text("{}")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("word", "name", "path"),
    [
        ("net.optimized", "net", "net.optimized"),
        ("a=b.optimized", "a=b", "a=b.optimized"),
        ("my net (1)=other", "my net (1)", "other"),
        ("a=b=a=b.optimized", "a=b", "a=b.optimized"),
        ("=other", "other", "other"),
    ],
)
def test_a_name_stands_before_its_bundle(word: str, name: str, path: str) -> None:
    assert named_bundles([word]) == {name: [Path(path)]}


def test_a_name_given_twice_has_two_versions() -> None:
    assert named_bundles(["m=net.optimized", "m=other"]) == {"m": [Path("net.optimized"), Path("other")]}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["no=such"], "such: no such bundle"),
        (["a/b=other"], "'a/b' is no model name"),
        (["other", "./other"], "given twice"),
        (["."], "is not a bundle"),
    ],
)
def test_what_cannot_be_served_is_named(words: list[str], told: str) -> None:
    with pytest.raises(BadInput, match=told):
        named_bundles(words)
