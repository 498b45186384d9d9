"""Building every target's engine, several at a time, each in its own child process."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from engines.build import BuildProgress, BuildRequest, build_engine
from engines.errors import BadInput, BuildError, BuildFailure
from engines.manifest import EngineManifest
from engines.profile import ShapeProfile
from engines.target import Backend, Target
from optimizer.events import Detail, Events


@dataclass(frozen=True)
class BuildOutcome:
    """What became of one target: its engine, or why there is none."""

    target: str
    engine: str | None
    engine_bytes: int | None
    build_seconds: float | None
    backend: str
    reason: str = ""
    failure: BuildFailure | None = None


_REFUSALS = (BuildFailure.UNSUPPORTED_OP, BuildFailure.UNSUPPORTED_TYPE, BuildFailure.SHAPE)
_STOPPED = (BuildFailure.CANCELLED,)


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
        outcomes = list(pool.map(build, gpu))
    if len(gpu) == len(targets):
        _refuse_a_model_nobody_takes(outcomes)
    return outcomes


def _refuse_a_model_nobody_takes(outcomes: Sequence[BuildOutcome]) -> None:
    """A graph that every asked target refuses is bad input; a library or GPU that is missing here is not."""
    if outcomes and all(outcome.failure in _REFUSALS for outcome in outcomes):
        names = ", ".join(outcome.target for outcome in outcomes)
        raise BadInput(f"no asked target takes this model ({names}): {outcomes[0].reason}")


def _build_one(request: BuildRequest, events: Events) -> BuildOutcome:
    target = request.target

    def show(progress: BuildProgress) -> None:
        events.emit(Detail("build", f"{target.name}: {progress.stage}  {progress.elapsed_s:.0f} s"))

    try:
        manifest = build_engine(request, show)
    except BuildError as error:
        if error.failure in _STOPPED:
            raise
        events.warn("build", f"no {target.name} engine: {error}")
        return BuildOutcome(target.name, None, None, None, Backend.TENSORRT.value, str(error), error.failure)
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
