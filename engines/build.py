"""Build one engine: a target, a graph and shapes in; a complete engine directory out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from engines.build_request import BuildRequest
from engines.cache.plans import EngineCache
from engines.engine import TensorSpec
from engines.manifest import EngineManifest
from engines.onnxruntime.build import build_onnxruntime
from engines.profile import check_profile
from engines.progress import BuildProgress, OnProgress
from engines.targets.target import Backend
from engines.tensorrt.builder.plan_build import build_tensorrt
from engines.tensorrt.options import check_options
from graphs.files import at_fault, unwritable
from graphs.staging import staged

__all__ = ["BuildProgress", "BuildRequest", "Builder", "build_engine"]


class Builder(Protocol):
    """``build_engine``, or what does the same elsewhere."""

    def __call__(self, request: BuildRequest, on_progress: OnProgress | None = None, /) -> EngineManifest: ...


def build_engine(
    request: BuildRequest, on_progress: OnProgress | None = None, *, cache: EngineCache | bool = True
) -> EngineManifest:
    """Build ``request.out`` and return its manifest, which is written last; the folder appears complete or not at all.

    TensorRT builds run in a child process and go through the engine cache (``cache=False`` turns it off, an
    ``EngineCache`` says where). Raises ``BuildError`` saying why the target cannot take the graph, ``BadInput`` for a
    model, shape, option or output place that cannot be used. ``KeyboardInterrupt`` stops a build at once, and so does
    any exception of ``on_progress``, which is how a build in a worker thread is stopped.
    """
    report: OnProgress = on_progress or (lambda _: None)
    check_options(request.options)
    for profile in request.profiles:
        check_profile(profile)
    try:
        return _build(request, report, cache)
    except OSError as error:
        raise unwritable(at_fault(error, request.out), error) from error


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
            manifest = build_tensorrt(request, staging, report, _cache(cache))
        manifest = _with_what_is_known(manifest, request)
        manifest.save(staging)
    return manifest


def _with_what_is_known(manifest: EngineManifest, request: BuildRequest) -> EngineManifest:
    inputs, outputs = manifest.inputs, manifest.outputs
    if request.batching is not None:
        inputs, outputs = request.batching.of_inputs(inputs), request.batching.of_outputs(outputs)
    return replace(manifest, inputs=_finite(inputs, request), outputs=_finite(outputs, request))


def _finite(specs: Sequence[TensorSpec], request: BuildRequest) -> tuple[TensorSpec, ...]:
    return tuple(replace(spec, finite=spec.name not in request.not_finite) for spec in specs)


def _cache(cache: EngineCache | bool) -> EngineCache | None:
    if isinstance(cache, EngineCache):
        return cache
    return EngineCache() if cache else None
