from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from engines.errors import BuildError, BuildFailure
from engines.targets.target import TARGETS
from engines.tensorrt import library
from engines.tensorrt.capabilities import Capabilities, probe
from engines.tensorrt.library import (
    Library,
    choose_library,
    listening,
    load_library,
    process_logger,
    require_builder,
)


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


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (
            "v100",
            "TensorRT 8.5 to 10.4 builds for it, on that GPU); there run: pip install 'tensorrt<10.5'",
        ),
        ("xavier_nx", "(JetPack 5 brings TensorRT 8.5); its Python is too old for this program: run there what"),
        ("orin_nano", "built on the device itself (JetPack 6 brings TensorRT 8.6 or 10); there run: optimize"),
        ("b200", "TensorRT 10.8 or later builds for it"),
    ],
)
def test_what_builds_elsewhere_is_said(monkeypatch: pytest.MonkeyPatch, target: str, words: str) -> None:
    _installed(monkeypatch, "tensorrt", "tensorrt_rtx")
    choice = choose_library(TARGETS[target], None)
    assert choice.name is None
    assert words in choice.reason


@pytest.mark.parametrize(
    ("target", "version", "fix"),
    [
        ("v100", "10.4.0", ""),
        ("v100", "8.5.3.1", ""),
        ("v100", "10.13.3.9", "pip install 'tensorrt<10.5'"),
        ("xavier_nx", "8.5.2.2", ""),
        ("xavier_nx", "8.6.1", "JetPack 5"),
        ("h100", "8.5.3.1", ""),
        ("b200", "8.6.1", "enginewright[tensorrt]"),
    ],
)
def test_a_release_that_does_not_build_for_a_gpu_is_refused(target: str, version: str, fix: str) -> None:
    here: Any = Library(SimpleNamespace(), "tensorrt", version, Capabilities())  # type: ignore[arg-type]
    if not fix:
        require_builder(here, TARGETS[target])
        return
    with pytest.raises(BuildError, match=f"TensorRT {version} does not build for") as caught:
        require_builder(here, TARGETS[target])
    assert caught.value.failure is BuildFailure.MISSING_LIBRARY
    assert fix in caught.value.fix


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


def test_cuda_libraries_are_taken_from_their_wheels_where_the_loader_finds_none(tmp_path: Path) -> None:
    """TensorRT 8.5's plugins want libcublas.so.11; its wheel puts that where no loader looks."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler for a library")
    folder = tmp_path / "nvidia" / "cublas" / "lib"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").touch()
    for name, needs in (("libcublasLt.so.11", []), ("libcublas.so.11", ["-L", str(folder), "-l:libcublasLt.so.11"])):
        options = ["-shared", f"-Wl,-soname,{name},--no-as-needed", "-o", str(folder / name), "-x", "c", os.devnull]
        subprocess.run([compiler, *options, "-x", "none", *needs], check=True)
    (tmp_path / "tensorrt_like.py").write_text(
        "import ctypes\n"
        "try: ctypes.CDLL('libcublas.so.11')\n"
        "except OSError as error: raise ImportError(str(error)) from None\n"
        "__version__ = '8.5.3.1'\n"
    )
    code = "from engines.tensorrt.library import _imported; print(_imported('tensorrt_like').__version__)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == "8.5.3.1", done.stderr


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
