"""Whether an engine is what its ``engine.json`` says: all that can be seen without the GPU it is for."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from engines.engine import TensorSpec
from engines.errors import EngineError
from engines.manifest import EngineManifest, check_digest
from engines.profile import ShapeProfile, check_profile
from engines.targets.target import TARGETS, LibraryName
from engines.tensorrt.library import installed, load_library
from engines.tensorrt.options import plugin_libraries
from engines.tensorrt.plan_header import PlanHeader, read_header
from engines.tensorrt.runtime.trial import try_plan
from graphs.storage.model_io import declared_types


def check_engine(manifest: EngineManifest, directory: Path, graph: Path) -> list[str]:
    """What was found to hold, in words. ``graph`` is the ONNX file the engine was built from.

    Raises ``EngineError`` for an engine file that is not the one built, for a plan that is damaged or for another GPU,
    library or version than the manifest says, for a manifest that contradicts its target, and for inputs, outputs or
    profiles that are not the graph's.
    """
    check_digest(manifest, directory)
    _check_target(manifest, directory)
    check_io(manifest, directory, declared_types(graph))
    if manifest.backend == "onnxruntime":
        return []
    header = _check_header(manifest, directory / manifest.file)
    said = [f"a plan of {header.library} {header.version} for {manifest.sm}"]
    return [*said, *_tried(manifest, directory / manifest.file)]


def _check_target(manifest: EngineManifest, directory: Path) -> None:
    where = str(directory / "engine.json")
    if directory.name != manifest.target:
        raise EngineError(f"is an engine for {manifest.target}", where=where, expected=f"one for {directory.name}")
    known = TARGETS.get(manifest.target)
    if known is not None and known.compute_capability != manifest.compute_capability:
        here = manifest.sm or "no GPU"
        raise EngineError(f"says {here}", where=where, expected=f"{known.sm or 'no GPU'}, as {known.title} has")


def check_io(manifest: EngineManifest, directory: Path, names: Collection[str]) -> None:
    """``names`` are the inputs and outputs of the graph, or of the engine once it is open. Raises ``EngineError``."""
    where = str(directory / "engine.json")
    described = {spec.name for spec in (*manifest.inputs, *manifest.outputs)}
    if names and (odd := sorted(described.symmetric_difference(names))):
        raise EngineError(
            f"inputs and outputs are not the graph's: {', '.join(map(repr, odd))}", where=where, fix=manifest.rebuild
        )
    for profile in manifest.profiles:
        for what in _misfits(profile, manifest.inputs):
            raise EngineError(what, where=where, fix=manifest.rebuild)


def _misfits(profile: ShapeProfile, inputs: Sequence[TensorSpec]) -> Iterator[str]:
    check_profile(profile)
    specs = {spec.name: spec for spec in inputs}
    for name, shapes in profile.inputs.items():
        spec = specs.get(name)
        if spec is None:
            yield f"the shape profile has an input {name!r}, which the engine has not"
        elif len(spec.shape) != len(shapes.opt) or not all(
            isinstance(size, str) or size == usual for size, usual in zip(spec.shape, shapes.opt, strict=True)
        ):
            yield f"the shape profile of {name!r} ({shapes}) does not fit its shape {list(spec.shape)}"


def _check_header(manifest: EngineManifest, plan: Path) -> PlanHeader:
    header = read_header(plan)
    if header.library != manifest.backend:
        raise _another(manifest, plan, f"is a plan of {header.library}", manifest.backend)
    if header.version and header.version != manifest.backend_version:
        raise _another(manifest, plan, f"was built by {header.library} {header.version}", manifest.backend_version)
    if header.bytes is not None and header.bytes != plan.stat().st_size:
        what = f"is cut off or overlong: {plan.stat().st_size} bytes"
        raise EngineError(what, where=str(plan), expected=f"{header.bytes} bytes, as it says", fix=manifest.rebuild)
    if header.capabilities and manifest.compute_capability not in header.capabilities:
        built = ", ".join("SM{}{}".format(*capability) for capability in header.capabilities)
        raise _another(manifest, plan, f"was built for {built}", manifest.sm)
    return header


def _another(manifest: EngineManifest, plan: Path, what: str, expected: str) -> EngineError:
    return EngineError(what, where=str(plan), expected=f"{expected}, as engine.json says", fix=manifest.rebuild)


def _tried(manifest: EngineManifest, plan: Path) -> list[str]:
    """What the library that built a plan says of it, where this very version is installed."""
    name: LibraryName = "tensorrt_rtx" if manifest.backend == "tensorrt_rtx" else "tensorrt"
    if not installed(name):
        return [f"{name} is not installed here"]
    library = load_library(name)
    if library.version != manifest.backend_version:
        return [f"{library.title} is installed here, which does not read it"]
    trial = try_plan(name, plan, plugin_libraries(manifest.options))
    if trial.faults:
        raise EngineError(f"{library.title} refuses the plan: {trial.faults[0]}", where=str(plan), fix=manifest.rebuild)
    return [f"{library.title} {'reads its frame' if trial.started else 'does not start here to read it'}"]
