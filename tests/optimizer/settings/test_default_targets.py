"""What engines are built for where nobody says."""

from __future__ import annotations

import pytest

import optimizer.settings.default_targets as default
from engines.targets.target import TARGETS
from engines.tensorrt.library import LibraryChoice


def targets(monkeypatch: pytest.MonkeyPatch, gpu: str | None, library: str | None) -> tuple[tuple[str, ...], list[str]]:
    said: list[str] = []
    choice = LibraryChoice(library, "TensorRT is not installed: pip install it")  # type: ignore[arg-type]
    monkeypatch.setattr(default, "native_target", lambda: TARGETS[gpu] if gpu else None)
    monkeypatch.setattr(default, "choose_library", lambda *_: choice)
    return default.default_targets(warn=said.append), said


def test_the_gpu_is_one_where_something_builds_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert targets(monkeypatch, "h100", "tensorrt") == (("cpu", "native"), [])
    assert targets(monkeypatch, None, "tensorrt") == (("cpu",), [])


def test_a_gpu_that_nothing_builds_for_is_left_out_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    found, (warning,) = targets(monkeypatch, "h100", None)
    assert found == ("cpu",)
    assert "NVIDIA H100" in warning and "pip install it" in warning
