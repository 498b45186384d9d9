from __future__ import annotations

from types import ModuleType, SimpleNamespace

import pytest

from engines.errors import BuildError, BuildFailure
from engines.targets.target import TARGETS
from engines.tensorrt import library
from engines.tensorrt.capabilities import probe
from engines.tensorrt.library import choose_library, listening, load_library, process_logger


def _installed(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    monkeypatch.setattr(library, "installed", lambda name: name in names)


def test_missing_library_names_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    _installed(monkeypatch)
    with pytest.raises(BuildError) as caught:
        load_library()
    assert caught.value.failure is BuildFailure.MISSING_LIBRARY
    assert caught.value.fix == "pip install 'enginewright[rtx]'"


@pytest.mark.parametrize(
    ("target", "native", "libraries", "chosen"),
    [
        ("t4", None, ("tensorrt", "tensorrt_rtx"), "tensorrt_rtx"),
        ("t4", "t4", ("tensorrt", "tensorrt_rtx"), "tensorrt"),
        ("t4", "t4", ("tensorrt_rtx",), "tensorrt_rtx"),
        ("a100", "t4", ("tensorrt", "tensorrt_rtx"), "tensorrt_rtx"),
        ("h100", "h100", ("tensorrt", "tensorrt_rtx"), "tensorrt"),
        ("h100", "h200", ("tensorrt",), "tensorrt"),  # both are SM90
        ("h100", None, ("tensorrt", "tensorrt_rtx"), None),
        ("h100", "h100", ("tensorrt_rtx",), None),
        ("t4", None, (), None),
    ],
)
def test_choice(
    monkeypatch: pytest.MonkeyPatch, target: str, native: str | None, libraries: tuple[str, ...], chosen: str | None
) -> None:
    _installed(monkeypatch, *libraries)
    choice = choose_library(TARGETS[target], TARGETS[native] if native else None)
    assert choice.name == chosen
    if chosen is None:
        assert f"optimize MODEL.onnx --target {target}" in choice.reason
        assert "pip install" in choice.reason


def test_old_tensorrt_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    old = ModuleType("tensorrt")
    old.__version__ = "8.4.3.1"  # type: ignore[attr-defined]
    monkeypatch.setattr(library, "_module_name", lambda name: "tensorrt")
    monkeypatch.setattr(library.importlib, "import_module", lambda name: old)
    library._load.cache_clear()
    try:
        with pytest.raises(BuildError, match=r"tensorrt 8\.4\.3\.1 is too old"):
            load_library("tensorrt")
    finally:
        library._load.cache_clear()


def test_a_library_that_cannot_be_imported_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> ModuleType:
        raise ImportError("libnvinfer.so.11: cannot open shared object file")

    monkeypatch.setattr(library, "_module_name", lambda name: "tensorrt")
    monkeypatch.setattr(library.importlib, "import_module", fail)
    library._load.cache_clear()
    with pytest.raises(BuildError, match=r"libnvinfer\.so\.11"):
        load_library("tensorrt")


def test_capabilities_come_from_the_module_and_not_from_its_version() -> None:
    bare = SimpleNamespace(IBuilderConfig=object, ICudaEngine=object, Runtime=object)
    found = probe(bare, "tensorrt")  # type: ignore[arg-type]
    assert not found.strongly_typed_flag
    assert found.compute_capability_targets == ()
    assert not found.engine_validity


def test_rtx_builds_ahead_of_time_for_the_targets_that_say_so(rtx: None) -> None:
    known = load_library("tensorrt_rtx").capabilities.compute_capability_targets
    for target in TARGETS.values():
        if target.compute_capability:
            assert (target.sm in known) == target.rtx, target.name


def test_one_logger_serves_listeners_that_come_and_go(rtx: None) -> None:
    trt = load_library("tensorrt_rtx")
    logger = process_logger(trt)
    heard: list[tuple[str, str]] = []
    with listening(lambda level, message: heard.append((level, message))):
        logger.log(trt.module.ILogger.Severity.WARNING, "mind the gap")
    logger.log(trt.module.ILogger.Severity.WARNING, "nobody listens")
    assert heard == [("WARNING", "mind the gap")]
    assert process_logger(trt) is logger
