"""Build a TensorRT plan: the library that does it, the engine cache around it, the manifest that describes it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

from engines.build_request import BuildRequest
from engines.cache.history import BuildHistory, BuildRecord, Estimate
from engines.cache.plans import CacheKey, EngineCache
from engines.engine import TensorSpec
from engines.errors import BuildError, BuildFailure
from engines.layers import layer_notes
from engines.manifest import EngineManifest
from engines.progress import BuildProgress, OnProgress
from engines.targets.gpus_here import native_target
from engines.tensorrt.builder.child import LOG_NAME
from engines.tensorrt.builder.process import Limits, build_in_child
from engines.tensorrt.builder.request import PlanBuilt, PlanRequest
from engines.tensorrt.library import Library, choose_library, load_library, require_builder
from engines.tensorrt.options import check_options, options_with_digests, target_options
from graphs.digests import sha256_file
from graphs.storage.model_files import model_bytes, model_digest
from graphs.storage.model_io import declared_types

PLAN_NAME = "engine.plan"
_WARNINGS_KEPT = 20  # of the library's, in engine.json
"""The library's warnings that the manifest keeps, the first ones; chosen."""


@dataclass(frozen=True)
class _Job:
    """A request with what was found out about it: the library, the options that apply, the model's digest."""

    request: BuildRequest
    library: Library
    options: dict[str, str]
    notes: tuple[str, ...]
    model: str
    staging: Path
    report: OnProgress


def build_tensorrt(
    request: BuildRequest, staging: Path, report: OnProgress, cache: EngineCache | None
) -> EngineManifest:
    """Put the plan of ``request`` into the existing folder ``staging``, from the cache or newly built."""
    library = _library(request)
    check_options(request.options, library)
    options, notes = target_options(request.options, request.target)
    job = _Job(request, library, options, notes, model_digest(request.model), staging, report)
    unusable = cache.unusable() if cache else ""
    if cache is None or unusable:
        manifest = _build_plan(job, None)
        return _noted(manifest, f"engine cache off: {unusable}") if unusable else manifest
    key = _key(job)
    with _building(cache, key, report):
        found = None if request.afresh else cache.fetch(key, staging)
        if found is not None:
            return _relabel(found, request)
        manifest = _build_plan(job, cache)
        manifest.save(staging)
        return _store(cache, key, staging, manifest)


def _library(request: BuildRequest) -> Library:
    if request.library is not None:
        return _fit(load_library(request.library), request)
    choice = choose_library(request.target, native_target())
    if choice.name is None:
        raise BuildError(BuildFailure.MISSING_LIBRARY, choice.reason, where=f"target {request.target.name}")
    return _fit(load_library(choice.name), request)


def _fit(library: Library, request: BuildRequest) -> Library:
    require_builder(library, request.target)
    return library


def _key(job: _Job) -> CacheKey:
    return CacheKey(
        model=job.model,
        profiles=job.request.profiles,
        sparse_weights=job.request.sparse_weights,
        options=options_with_digests(job.options),
        library=job.library.name,
        library_version=job.library.version,
        compute_capability=job.request.target.compute_capability,
        node_types={} if job.library.capabilities.strongly_typed else job.request.node_types,
    )


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
        return _noted(manifest, f"not kept in the engine cache: {error.strerror}")
    return manifest


def _noted(manifest: EngineManifest, note: str) -> EngineManifest:
    return replace(manifest, notes=tuple(dict.fromkeys((*manifest.notes, note))))


def _relabel(found: EngineManifest, request: BuildRequest) -> EngineManifest:
    """A cached manifest under the names of this request; neither name changes the plan."""
    named = replace(found, target=request.target.name, precision=request.precision)
    return _noted(named, "taken from the engine cache")


def _build_plan(job: _Job, cache: EngineCache | None) -> EngineManifest:
    request, library = job.request, job.library
    plan = job.staging.absolute() / PLAN_NAME
    history = BuildHistory(cache.root) if cache else None
    size = model_bytes(request.model)
    built = build_in_child(
        PlanRequest(
            model=str(request.model.absolute()),
            plan=str(plan),
            library=library.name,
            sm=request.target.sm,
            profiles=request.profiles,
            sparse_weights=request.sparse_weights,
            timing_cache=_timing_path(job, cache),
            options=job.options,
            precision=request.precision,
            node_types={} if library.capabilities.strongly_typed else request.node_types,
        ),
        limits=Limits(request.time_limit_s, request.memory_limit_mb),
        on_progress=_estimating(job, history.estimate(job.model, size, *_where(job)) if history else None),
    )
    if history:
        history.add(BuildRecord(job.model, size, *_where(job), round(built.parse_seconds + built.build_seconds, 3)))
    return _manifest(job, plan, built)


def _where(job: _Job) -> tuple[str, str]:
    return job.library.title, job.request.target.sm


def _estimating(job: _Job, estimate: Estimate | None) -> OnProgress:
    return lambda progress: job.report(replace(progress, estimate=estimate))


def _timing_path(job: _Job, cache: EngineCache | None) -> str | None:
    if cache is None or job.options.get("timing_cache") == "off":
        return None
    return str(cache.timing_cache(job.library.version, job.request.target.sm))


def _manifest(job: _Job, plan: Path, built: PlanBuilt) -> EngineManifest:
    request, library, types = job.request, job.library, declared_types(job.request.model)
    return EngineManifest(
        target=request.target.name,
        backend="tensorrt_rtx" if library.name == "tensorrt_rtx" else "tensorrt",
        backend_version=built.library_version,
        compute_capability=request.target.compute_capability,
        file=PLAN_NAME,
        file_digest=sha256_file(plan),
        bytes=plan.stat().st_size,
        precision=request.precision,
        profile=request.profile,
        more_profiles=request.more_profiles,
        inputs=_with_declared(built.inputs, types),
        outputs=_with_declared(built.outputs, types),
        layers=built.layers,
        memory=built.memory,
        build_seconds=round(built.parse_seconds + built.build_seconds, 3),
        build_log_digest=sha256_file(plan.with_name(LOG_NAME)),
        sparse_weights=request.sparse_weights,
        options=job.options,
        notes=(
            *built.remarks,
            *_int8_notes(request),
            *_mxfp8_notes(request, library),
            *_sparsity_notes(request, library, built),
            *layer_notes(built.layers),
        ),
        ignored=(*job.notes, *built.notes, *_changed_types(types, built)),
        warnings=built.warnings[:_WARNINGS_KEPT],
        sparse_tactics=built.sparse_tactics,
    )


def _with_declared(specs: tuple[TensorSpec, ...], types: Mapping[str, str]) -> tuple[TensorSpec, ...]:
    """``specs`` with the graph's own types where the plan's are others."""
    own = ((spec, types.get(spec.name, spec.dtype)) for spec in specs)
    return tuple(replace(spec, declared=dtype) if dtype != spec.dtype else spec for spec, dtype in own)


def _changed_types(declared: Mapping[str, str], built: PlanBuilt) -> tuple[str, ...]:
    """Inputs and outputs that the plan binds with another type than the graph declares; TensorRT says nothing of it."""
    specs = (*built.inputs, *built.outputs)
    changed = [spec for spec in specs if declared.get(spec.name, spec.dtype) != spec.dtype]
    return tuple(f"{s.name!r} is {declared[s.name]} in the model and {s.dtype} in the plan" for s in changed)


def _int8_notes(request: BuildRequest) -> tuple[str, ...]:
    if request.precision != "int8" or request.target.int8_tensor_cores:
        return ()
    return (f"{request.target.title} has no INT8 tensor cores: --precision fp16 is faster there",)


def _mxfp8_notes(request: BuildRequest, library: Library) -> tuple[str, ...]:
    """As the layers of its plans for SM120 say."""
    if request.precision != "mxfp8" or library.name != "tensorrt_rtx":
        return ()
    return ("TensorRT-RTX 1.7 dequantizes MXFP8 and multiplies in float16: a smaller engine, no faster one",)


def _sparsity_notes(request: BuildRequest, library: Library, built: PlanBuilt) -> tuple[str, ...]:
    if not request.sparse_weights:
        return ()
    if not request.target.sparse_tensor_cores:
        return (f"2:4 sparsity gains nothing: {request.target.title} has no sparse tensor cores",)
    if library.name == "tensorrt_rtx":
        return ("2:4 sparsity is not used by TensorRT-RTX; a build with full TensorRT uses it",)
    if built.sparse_tactics is not None:
        return (built.sparse_tactics.sentence,)
    return built.sparsity or ("the builder reported no sparse kernels",)
