"""Build one engine: a target, a graph and shapes in; a complete engine directory out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter

from engines.cache import CacheKey, EngineCache
from engines.errors import BadInput, BuildError, BuildFailure
from engines.files import sha256_file
from engines.gpu import native_target
from engines.manifest import EngineManifest
from engines.model_files import model_digest
from engines.onnxruntime_build import build_onnxruntime
from engines.profile import ShapeProfile
from engines.progress import BuildProgress, OnProgress
from engines.staging import staged
from engines.target import Backend, Target
from engines.tensorrt.child import LOG_NAME
from engines.tensorrt.library import Library, LibraryName, choose_library, load_library
from engines.tensorrt.options import check_options
from engines.tensorrt.process import Limits, build_in_child
from engines.tensorrt.request import PlanBuilt, PlanRequest

__all__ = ["BuildProgress", "BuildRequest", "build_engine"]

PLAN_NAME = "engine.plan"
_WARNINGS_KEPT = 20


@dataclass(frozen=True)
class BuildRequest:
    """One engine to build.

    ``model`` is the graph in the form its target wants (for TensorRT already typed: Q/DQ, casts); ``out`` the engine
    directory to create; ``precision`` a label for the manifest, because types live in the graph. ``options`` are those
    of ``engines.tensorrt.options`` and concern TensorRT only. ``library`` overrides the choice of ``choose_library``.
    """

    model: Path
    target: Target
    profile: ShapeProfile
    out: Path
    precision: str
    sparse_weights: bool = False
    time_limit_s: float | None = None
    memory_limit_mb: int | None = None
    options: dict[str, str] = field(default_factory=dict)
    library: LibraryName | None = None
    threads: int | None = None


def build_engine(
    request: BuildRequest, on_progress: OnProgress | None = None, *, cache: EngineCache | bool = True
) -> EngineManifest:
    """Build ``request.out`` and return its manifest, which is written last; the folder appears complete or not at all.

    TensorRT builds run in a child process and go through the engine cache (``cache=False`` turns it off, an
    ``EngineCache`` says where). Raises ``BuildError`` saying why the target cannot take the graph, ``BadInput`` for a
    model, option or output place that cannot be used. ``KeyboardInterrupt`` stops a build at once, and so does any
    exception of ``on_progress``, which is how a build in a worker thread is stopped.
    """
    report: OnProgress = on_progress or (lambda _: None)
    check_options(request.options)
    try:
        return _build(request, report, cache)
    except OSError as error:
        what = f"cannot be read or written: {error.strerror or error}"
        raise BadInput(what, where=str(error.filename or request.out)) from error


def _build(request: BuildRequest, report: OnProgress, cache: EngineCache | bool) -> EngineManifest:
    with staged(request.out) as staging:
        if request.target.backend is Backend.ONNXRUNTIME:
            manifest = build_onnxruntime(
                request.model,
                staging,
                target=request.target.name,
                precision=request.precision,
                profile=request.profile,
                sparse_weights=request.sparse_weights,
                threads=request.threads,
                on_progress=report,
            )
        else:
            manifest = _build_tensorrt(request, staging, report, _cache(cache))
        manifest.save(staging)
    return manifest


def _cache(cache: EngineCache | bool) -> EngineCache | None:
    if isinstance(cache, EngineCache):
        return cache
    return EngineCache() if cache else None


def _library(request: BuildRequest) -> Library:
    if request.library is not None:
        return load_library(request.library)
    choice = choose_library(request.target, native_target())
    if choice.name is None:
        raise BuildError(BuildFailure.MISSING_LIBRARY, choice.reason, where=f"target {request.target.name}")
    return load_library(choice.name)


def _build_tensorrt(
    request: BuildRequest, staging: Path, report: OnProgress, cache: EngineCache | None
) -> EngineManifest:
    library = _library(request)
    digest = model_digest(request.model)
    unusable = cache.unusable() if cache else ""
    if cache is None or unusable:
        manifest = _build_plan(request, library, staging, report, None)
        return replace(manifest, notes=(*manifest.notes, f"engine cache off: {unusable}")) if unusable else manifest
    key = CacheKey(
        model=digest,
        profile=request.profile,
        sparse_weights=request.sparse_weights,
        options=request.options,
        library=library.name,
        library_version=library.version,
        compute_capability=request.target.compute_capability,
    )
    with _building(cache, key, report):
        found = cache.fetch(key, staging)
        if found is not None:
            return _relabel(found, request)
        manifest = _build_plan(request, library, staging, report, cache)
        manifest.save(staging)
        return _store(cache, key, staging, manifest)


@contextmanager
def _building(cache: EngineCache, key: CacheKey, report: OnProgress) -> Iterator[None]:
    started = perf_counter()
    waiting = "waiting for another build of the same engine"
    with cache.building(key, lambda: report(BuildProgress(waiting, perf_counter() - started))):
        yield


def _store(cache: EngineCache, key: CacheKey, staging: Path, manifest: EngineManifest) -> EngineManifest:
    try:
        cache.store(key, staging)
    except OSError as error:  # a full or read-only cache must not cost the engine just built
        return replace(manifest, notes=(*manifest.notes, f"not kept in the engine cache: {error.strerror}"))
    return manifest


def _relabel(found: EngineManifest, request: BuildRequest) -> EngineManifest:
    """A cached manifest under the names of this request; neither name changes the plan."""
    notes = tuple(dict.fromkeys((*found.notes, "taken from the engine cache")))
    return replace(found, target=request.target.name, precision=request.precision, notes=notes)


def _build_plan(
    request: BuildRequest, library: Library, staging: Path, report: OnProgress, cache: EngineCache | None
) -> EngineManifest:
    plan = staging.absolute() / PLAN_NAME
    timing = (
        cache.timing_cache(library.version, request.target.sm) if cache and library.capabilities.timing_cache else None
    )
    built = build_in_child(
        PlanRequest(
            model=str(request.model.absolute()),
            plan=str(plan),
            library=library.name,
            sm=request.target.sm,
            profile=request.profile,
            sparse_weights=request.sparse_weights,
            timing_cache=str(timing) if timing else None,
            options=request.options,
        ),
        limits=Limits(request.time_limit_s, request.memory_limit_mb),
        on_progress=report,
    )
    return _manifest(request, library, plan, built)


def _manifest(request: BuildRequest, library: Library, plan: Path, built: PlanBuilt) -> EngineManifest:
    return EngineManifest(
        target=request.target.name,
        backend=library.name,
        backend_version=built.library_version,
        compute_capability=request.target.compute_capability,
        file=PLAN_NAME,
        file_digest=sha256_file(plan),
        bytes=plan.stat().st_size,
        precision=request.precision,
        profile=request.profile,
        inputs=built.inputs,
        outputs=built.outputs,
        layers=built.layers,
        memory=built.memory,
        build_seconds=round(built.parse_seconds + built.build_seconds, 3),
        build_log_digest=sha256_file(plan.with_name(LOG_NAME)),
        sparse_weights=request.sparse_weights,
        options=request.options,
        notes=(*_sparsity_notes(request, library, built), *built.warnings[:_WARNINGS_KEPT]),
    )


def _sparsity_notes(request: BuildRequest, library: Library, built: PlanBuilt) -> tuple[str, ...]:
    if not request.sparse_weights:
        return ()
    if not request.target.sparse_tensor_cores:
        return (f"2:4 sparsity gains nothing: {request.target.title} has no sparse tensor cores",)
    if library.name == "tensorrt_rtx":
        return ("2:4 sparsity is not used by TensorRT-RTX; a build with full TensorRT uses it",)
    return built.sparsity or ("the builder reported no sparse kernels",)
