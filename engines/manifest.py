"""``engine.json``: what an engine is, read before anything of it is loaded."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from engines.engine import TensorSpec
from engines.errors import EngineElsewhere, EngineError
from engines.layers import BuildMemory, LayerInfo, SparseTactics
from engines.profile import Shape, ShapeProfile
from engines.targets.target import NATIVE, TARGETS
from graphs.files import read_json, write_json
from graphs.storage.model_files import files_digest

BackendName: TypeAlias = Literal["onnxruntime", "tensorrt", "tensorrt_rtx"]

MANIFEST_NAME = "engine.json"
SCHEMA = 2
"""Version of engine.json; from 2 on, size and digest are of the data beside an ONNX model, too."""


@dataclass(frozen=True)
class EngineManifest:
    """An engine directory's description.

    ``file`` is relative to the directory, as are the ``data_files`` beside it; ``file_digest`` is the digest and
    ``bytes`` the size of all of them (``graphs.storage.model_files``). ``backend_version`` is exact: TensorRT plans run
    only under the version that built them, version-compatible ones under its major version. ``more_profiles`` are
    optimization profiles besides ``profile``. ``compute_capability`` is (major, minor), None on the CPU. ``layers`` is
    empty where the backend tells nothing about its layers. ``ignored`` says what was asked for and is not so, ``notes``
    what else is worth knowing, ``warnings`` are the library's own words. ``threads`` applies to ONNX Runtime, None for
    all cores. ``sparse_tactics`` is what full TensorRT's builder said of 2:4 weights.
    """

    target: str
    backend: BackendName
    backend_version: str
    compute_capability: tuple[int, int] | None
    file: str
    file_digest: str
    bytes: int
    precision: str
    profile: ShapeProfile
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    layers: tuple[LayerInfo, ...] = ()
    memory: BuildMemory = field(default_factory=BuildMemory)
    build_seconds: float = 0.0
    build_log_digest: str = ""
    sparse_weights: bool = False
    options: dict[str, str] = field(default_factory=dict)
    data_files: tuple[str, ...] = ()
    threads: int | None = None
    notes: tuple[str, ...] = ()
    schema: int = SCHEMA
    more_profiles: tuple[ShapeProfile, ...] = ()
    ignored: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    sparse_tactics: SparseTactics | None = None

    def save(self, directory: Path) -> None:
        write_json(directory / MANIFEST_NAME, self)

    @staticmethod
    def load(directory: Path) -> EngineManifest:
        """Read ``directory/engine.json``. Raises ``BadInput`` naming the file when it is missing or does not fit."""
        return read_json(directory / MANIFEST_NAME, EngineManifest)

    @property
    def sm(self) -> str:
        return "SM{}{}".format(*self.compute_capability) if self.compute_capability else ""

    @property
    def files(self) -> tuple[str, ...]:
        """Every file the engine needs, by the name it must keep: an ONNX model refers to its data by name."""
        return (self.file, *self.data_files)

    @property
    def rebuild(self) -> str:
        """The command that makes this engine anew on the machine it is for."""
        target = self.target if self.target in TARGETS else NATIVE  # a GPU with no name of its own
        words = ["optimize", "MODEL.onnx", "--target", target, "--precision", self.precision]
        words += ["--sparsity", "2:4"] if self.sparse_weights else []
        words += [word for profile in self.profiles for word in _shape_options(profile)]
        words += [word for name, value in self.options.items() for word in ("--builder-option", f"{name}={value}")]
        return shlex.join(words)

    @property
    def profiles(self) -> tuple[ShapeProfile, ...]:
        return (self.profile, *self.more_profiles)

    def has(self, option: str) -> bool:
        """Whether a builder option of this name was ``on``."""
        return self.options.get(option) == "on"


def _shape_options(profile: ShapeProfile) -> Iterator[str]:
    for name, shapes in profile.inputs.items():
        yield from ("--shape", f"{name}={shapes}")


@dataclass(frozen=True)
class Runtime:
    """What is about to load an engine: library, its version, and the GPU's compute capability (None: no GPU)."""

    backend: BackendName
    version: str
    compute_capability: tuple[int, int] | None


def check_loadable(manifest: EngineManifest, directory: Path, runtime: Runtime) -> None:
    """Raise ``EngineError`` unless ``runtime`` can run the engine in ``directory`` as it is: see ``check_runs_here``,
    and the plan must hold its weights."""
    check_runs_here(manifest, directory, runtime)
    if manifest.has("strip_plan"):
        raise EngineError(
            "the plan holds no weights (built with strip_plan)",
            where=str(directory / manifest.file),
            fix="put them in with engines.refit.refit_engine(directory, model), then open it",
        )


def check_runs_here(manifest: EngineManifest, directory: Path, runtime: Runtime) -> None:
    """Raise ``EngineError`` with the command that rebuilds, unless ``runtime`` fits the engine in ``directory``.

    Checked from the manifest alone, before a byte of the plan reaches a library that might crash on it: schema, the
    file's presence and size, backend and exact version, and the GPU.
    """
    _check_schema(manifest, directory)
    _check_file(manifest, directory)
    if manifest.backend == "onnxruntime":
        return
    where = str(directory / manifest.file)
    fix = f"on this machine run: {manifest.rebuild}"
    if runtime.compute_capability is None:
        raise EngineElsewhere(
            "no NVIDIA GPU found", where=where, expected=f"a GPU of {manifest.sm}", fix=_elsewhere(manifest)
        )
    if not _same_gpu(manifest, runtime.compute_capability):
        here = "SM{}{}".format(*runtime.compute_capability)
        raise EngineElsewhere(f"built for {manifest.sm}, this GPU is {here}", where=where, fix=fix)
    if runtime.backend != manifest.backend or not _same_version(manifest, runtime.version):
        raise EngineError(
            f"this machine has {runtime.backend} {runtime.version}",
            where=where,
            expected=f"{manifest.backend} {manifest.backend_version}, which built the plan",
            fix=fix,
        )


def _same_gpu(manifest: EngineManifest, here: tuple[int, int]) -> bool:
    """Plans run on the compute capability they were built for; AMPERE_PLUS ones on every later one too."""
    built = manifest.compute_capability
    if manifest.backend == "tensorrt" and manifest.has("hardware_compatible"):
        return here >= (8, 0)
    return here == built


def _same_version(manifest: EngineManifest, here: str) -> bool:
    """The very version, or for a version-compatible plan any of the same major version that is not older."""
    if manifest.backend != "tensorrt" or not manifest.has("version_compatible"):
        return here == manifest.backend_version
    runs, built = (
        tuple(int(part) for part in v.split(".") if part.isdigit()) for v in (here, manifest.backend_version)
    )
    return runs[:1] == built[:1] and runs >= built


def check_shapes(manifest: EngineManifest, directory: Path, shapes: Mapping[str, Shape]) -> None:
    """Raise ``EngineError`` with the command that rebuilds, unless one profile covers all of ``shapes`` (by input).

    Like ``check_loadable`` this reads the manifest only. Inputs without a range have one shape and are not checked.
    """
    if manifest.backend == "onnxruntime" or any(profile.covers(shapes) for profile in manifest.profiles):
        return
    given = ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in shapes.items())
    known = " or ".join(" ".join(f"{n}={r}" for n, r in profile.inputs.items()) for profile in manifest.profiles)
    wanted = " ".join(f"--shape {name}=MIN:OPT:MAX" for name in shapes if name in manifest.profile.inputs)
    base = shlex.join(["optimize", "MODEL.onnx", "--target", manifest.target, "--precision", manifest.precision])
    raise EngineError(
        f"no shape profile covers {given}",
        where=str(directory / manifest.file),
        expected=known,
        fix=f"rebuild it with ranges that do: {base} {wanted}",
    )


def _check_schema(manifest: EngineManifest, directory: Path) -> None:
    if manifest.schema != SCHEMA:
        raise EngineError(
            f"engine manifest schema {manifest.schema} is not known",
            where=str(directory / MANIFEST_NAME),
            expected=f"schema {SCHEMA}",
            fix=manifest.rebuild,
        )


def _check_file(manifest: EngineManifest, directory: Path) -> None:
    paths = [directory / name for name in manifest.files]
    for path in paths:
        if not path.is_file():
            expected = f"{manifest.bytes} bytes" if path == paths[0] else "the model's external data"
            raise EngineError("missing", where=str(path), expected=expected, fix=manifest.rebuild)
    size = sum(path.stat().st_size for path in paths)
    if size != manifest.bytes:
        expected = f"{manifest.bytes} bytes{', external data included' if manifest.data_files else ''}"
        raise EngineError(f"damaged: {size} bytes", where=str(paths[0]), expected=expected, fix=manifest.rebuild)


def _elsewhere(manifest: EngineManifest) -> str:
    return (
        f"copy the bundle to a machine with {manifest.target} and run: optimize bench BUNDLE --target {manifest.target}"
    )


def check_digest(manifest: EngineManifest, directory: Path) -> None:
    """Raise ``EngineError`` when the engine is not byte for byte the one that was built. Reads all its files."""
    path = directory / manifest.file
    _check_file(manifest, directory)
    if files_digest([directory / name for name in manifest.files]) != manifest.file_digest:
        raise EngineError("changed since it was built", where=str(path), fix=manifest.rebuild)
