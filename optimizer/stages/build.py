"""Building every target's engine, several at a time, each in its own child process."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from engines.build import BuildProgress, BuildRequest, build_engine
from engines.errors import BuildError
from engines.manifest import EngineManifest
from engines.profile import ShapeProfile
from engines.target import Backend, Target
from optimizer.events import Events, Note


@dataclass(frozen=True)
class BuildOutcome:
    """What became of one target: its engine, or why there is none."""

    target: str
    engine: str | None
    engine_bytes: int | None
    build_seconds: float | None
    backend: str
    reason: str = ""


def build_targets(
    model: Path,
    targets: Sequence[Target],
    profile: ShapeProfile,
    bundle: Path,
    *,
    precision: str,
    sparse_weights: bool,
    jobs: int,
    events: Events,
) -> list[BuildOutcome]:
    """Build ``model`` for every GPU target into ``bundle/engines/<target>``; a refusal becomes the outcome's reason."""
    gpu = [target for target in targets if target.backend is Backend.TENSORRT]

    def build(target: Target) -> BuildOutcome:
        request = BuildRequest(
            model=model,
            target=target,
            profile=profile,
            out=bundle / "engines" / target.name,
            precision=precision,
            sparse_weights=sparse_weights and target.sparse_tensor_cores,
        )
        return _build_one(request, events)

    with ThreadPoolExecutor(max_workers=max(jobs, 1)) as pool:
        return list(pool.map(build, gpu))


def _build_one(request: BuildRequest, events: Events) -> BuildOutcome:
    target = request.target

    def show(progress: BuildProgress) -> None:
        events.emit(Note("build", f"{target.name}: {progress.stage}  {progress.elapsed_s:.0f} s"))

    try:
        manifest = build_engine(request, show)
    except BuildError as error:
        events.warn("build", f"no {target.name} engine: {error}")
        return BuildOutcome(target.name, None, None, None, Backend.TENSORRT.value, str(error))
    return outcome(target.name, request.out, manifest)


def outcome(target: str, directory: Path, manifest: EngineManifest) -> BuildOutcome:
    """The record of a finished engine."""
    return BuildOutcome(
        target,
        f"engines/{directory.name}/{manifest.file}",
        manifest.bytes,
        manifest.build_seconds,
        manifest.backend,
    )
