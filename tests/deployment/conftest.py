"""A bundle with engines as serving sees one: manifests are real, engine files are stand-in bytes nobody loads."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from engines.engine import TensorSpec
from engines.manifest import BackendName, EngineManifest
from engines.profile import ShapeProfile, ShapeRange

CAPABILITIES = {"t4": (7, 5), "a100": (8, 0), "h100": (9, 0), "h200": (9, 0)}
IMAGE = (TensorSpec("input", "float32", ("batch", 3, 224, 224)),)
LOGITS = (TensorSpec("logits", "float32", ("batch", 1000)),)
PROFILE = ShapeProfile({"input": ShapeRange((1, 3, 224, 224), (8, 3, 224, 224), (32, 3, 224, 224))})

AddEngine = Callable[..., Path]


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "net.optimized"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(b"typed graph")
    return folder


@pytest.fixture
def add_engine(bundle: Path) -> AddEngine:
    def add(
        target: str,
        backend: BackendName,
        inputs: tuple[TensorSpec, ...] = IMAGE,
        outputs: tuple[TensorSpec, ...] = LOGITS,
        profile: ShapeProfile = PROFILE,
        data_files: tuple[str, ...] = (),
    ) -> Path:
        folder = bundle / "engines" / target
        folder.mkdir(parents=True)
        file = "model.onnx" if backend == "onnxruntime" else "engine.plan"
        content = f"engine of {target}".encode()
        for name in (file, *data_files):
            (folder / name).write_bytes(content)
        EngineManifest(
            target=target,
            backend=backend,
            backend_version="10.13.2",
            compute_capability=CAPABILITIES.get(target),
            file=file,
            file_digest=hashlib.sha256(content).hexdigest(),
            bytes=len(content),
            precision="int8",
            profile=profile,
            inputs=inputs,
            outputs=outputs,
            data_files=data_files,
        ).save(folder)
        return folder

    return add
