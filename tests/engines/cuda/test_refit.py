"""Refit on a fake library: weights go in, or the reason why not; the directory is replaced whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from engines import refit as refit_module
from engines.errors import EngineError
from engines.manifest import EngineManifest, Runtime, check_digest
from engines.profile import ShapeProfile
from engines.refit import refit_engine
from engines.tensorrt import library as library_module
from engines.tensorrt.capabilities import Capabilities
from engines.tensorrt.library import Library
from graphs.digests import sha256_file
from graphs.errors import BadInput

PLAN = EngineManifest(
    target="a100",
    backend="tensorrt",
    backend_version="11.4.0",
    compute_capability=(8, 0),
    file="engine.plan",
    file_digest="",
    bytes=4,
    precision="fp16",
    profile=ShapeProfile({}),
    inputs=(),
    outputs=(),
    options={"strip_plan": "on"},
)


class World:
    """Full TensorRT, as far as refitting goes; ``says`` is what its parser finds wrong."""

    def __init__(self) -> None:
        self.says: list[str] = []
        self.missing: list[str] = []
        self.accepts = True
        self.excluded = {"EXCLUDE_WEIGHTS"}
        self.read = ""

    def library(self) -> Library:
        class Logger:
            def __init__(self) -> None: ...

        module: Any = ModuleType("fake_tensorrt")
        module.ILogger = Logger
        module.SerializationFlag = SimpleNamespace(EXCLUDE_WEIGHTS="EXCLUDE_WEIGHTS")
        module.Refitter = lambda engine, logger: SimpleNamespace(
            get_missing_weights=lambda: self.missing, refit_cuda_engine=lambda: self.accepts
        )
        module.OnnxParserRefitter = lambda refitter, logger: self
        return Library(module, "tensorrt", "11.4.0", Capabilities(timing_cache=True, plugins=True))

    def refit_from_file(self, path: str) -> bool:
        self.read = path
        return not self.says

    @property
    def num_errors(self) -> int:
        return len(self.says)

    def get_error(self, index: int) -> Any:
        return SimpleNamespace(desc=lambda: self.says[index])

    # the engine
    def create_serialization_config(self) -> Any:
        return SimpleNamespace(clear_flag=self.excluded.discard)

    def serialize_with_config(self, config: Any) -> bytes:
        return b"kernels" if self.excluded else b"kernels and weights"


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()
    library = world.library()
    library_module.process_logger.cache_clear()
    monkeypatch.setattr(refit_module, "runtime_here", lambda manifest: Runtime("tensorrt", "11.4.0", (8, 0)))
    monkeypatch.setattr(refit_module, "library_for", lambda manifest: library)
    monkeypatch.setattr(refit_module, "open_runtime", lambda name: None)
    monkeypatch.setattr(refit_module, "deserialize", lambda library, plan, **_: (None, world))
    folder = tmp_path / "a100"
    folder.mkdir()
    (folder / "engine.plan").write_bytes(b"plan")
    replace(PLAN, file_digest=sha256_file(folder / "engine.plan")).save(folder)
    (tmp_path / "new.onnx").write_bytes(b"onnx")
    return world


def test_a_stripped_plan_gets_its_weights_and_says_so(world: World, tmp_path: Path) -> None:
    manifest = refit_engine(tmp_path / "a100", tmp_path / "new.onnx")
    assert world.read == str(tmp_path / "new.onnx")
    assert (tmp_path / "a100" / "engine.plan").read_bytes() == b"kernels and weights"
    assert manifest == EngineManifest.load(tmp_path / "a100")
    assert manifest.options == {"refit": "on"}, "no longer stripped, and can be refitted again"
    assert any("new.onnx" in note for note in manifest.notes)
    check_digest(manifest, tmp_path / "a100")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"says": ["count of weights differs"]}, "count of weights differs"),
        ({"missing": ["fc.weight"]}, "it lacks fc.weight"),
        ({"accepts": False}, "no reason given"),
    ],
)
def test_weights_that_do_not_fit_leave_the_engine_as_it_was(
    world: World, tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    for name, value in change.items():
        setattr(world, name, value)
    with pytest.raises(EngineError, match=words) as caught:
        refit_engine(tmp_path / "a100", tmp_path / "new.onnx")
    assert "same names and shapes" in caught.value.expected
    assert (tmp_path / "a100" / "engine.plan").read_bytes() == b"plan"


def test_an_engine_not_built_for_it_says_how_to_build_one(world: World, tmp_path: Path) -> None:
    replace(EngineManifest.load(tmp_path / "a100"), options={}).save(tmp_path / "a100")
    with pytest.raises(EngineError, match="not built to take new weights") as caught:
        refit_engine(tmp_path / "a100", tmp_path / "new.onnx")
    assert "--refit" in caught.value.fix


def test_a_missing_model_is_bad_input(world: World, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such file"):
        refit_engine(tmp_path / "a100", tmp_path / "none.onnx")


def test_without_a_gpu_it_says_so(tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refit_module, "runtime_here", lambda manifest: Runtime("tensorrt", "11.4.0", None))
    with pytest.raises(EngineError, match="no NVIDIA GPU found"):
        refit_engine(tmp_path / "a100", tmp_path / "new.onnx")
