"""Jobs of these tests keep what they make to themselves: one may run with code patched that another does not."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache of this test alone."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("ENGINEWRIGHT_CACHE", str(folder))
    return folder
