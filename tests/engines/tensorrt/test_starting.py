"""A library that cannot start says why: pybind11 makes a TypeError of it, and the reason is in the log."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from engines.errors import EngineError
from engines.tensorrt import library as library_module
from engines.tensorrt.builder.build_plan import build_plan
from engines.tensorrt.builder.messages import BuildMessages
from engines.tensorrt.builder.request import PlanRequest
from engines.tensorrt.library import Library
from engines.tensorrt.runtime import trial
from engines.tensorrt.starting import new_builder, new_runtime
from tests.engines.conformance.bindings import BINDINGS, snapshot

REASON = "CUDA initialization failure with error: 35. Please check your CUDA installation"


class Logger:
    def __init__(self) -> None: ...


def refuse(logger: Any) -> None:
    logger.log("Severity.WARNING", REASON)
    raise TypeError("pybind11::init(): factory function returned nullptr")


@pytest.fixture
def old() -> Iterator[Library]:
    """8.5.3 with a driver too old for it."""
    real = snapshot(BINDINGS[0])
    module: Any = ModuleType("old")
    module.ILogger, module.Builder, module.Runtime = Logger, refuse, refuse
    library_module.process_logger.cache_clear()
    yield Library(module, "tensorrt", real.version, real.capabilities)
    library_module.process_logger.cache_clear()


def test_the_reason_is_the_logs(old: Library) -> None:
    for start in (new_builder, new_runtime):
        with pytest.raises(
            EngineError, match=r"TensorRT 8\.5\.3\.1 does not start: CUDA initialization failure"
        ) as caught:
            start(old)
        assert "driver" in caught.value.expected


def test_a_build_says_so(old: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engines.tensorrt.builder.build_plan.load_library", lambda name: old)
    request = PlanRequest(str(tmp_path / "m.onnx"), str(tmp_path / "p"), "tensorrt", "SM90")
    with pytest.raises(EngineError, match="does not start"):
        build_plan(request, lambda _: None, BuildMessages())


def test_a_plan_is_not_at_fault(old: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "load_library", lambda name: old)
    assert trial._try("tensorrt", tmp_path / "plan", ()) == trial.Trial(started=False)
