"""Open an engine directory: manifest first, then the backend it names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from engines.engine import EngineBase
from engines.manifest import EngineManifest, Runtime, check_loadable, check_shapes
from engines.profile import Shape
from engines.targets.gpus_here import used_gpu
from engines.targets.target import LibraryName
from engines.tensorrt.library import Library, load_runtime
from engines.tensorrt.options import plugin_libraries

if TYPE_CHECKING:
    from engines.tensorrt.runtime.engine import GpuSettings


def open_engine(
    directory: Path,
    *,
    threads: int | None = None,
    spin: bool = True,
    cuda_runtime: str | None = None,
    gpu: GpuSettings | None = None,
    shapes: Mapping[str, Shape] | None = None,
) -> EngineBase:
    """The engine in ``directory``, ready to run; close it, or use it as a context manager.

    ``threads`` overrides the manifest's for ONNX Runtime, whose threads wait without a core where ``spin`` is False
    (beside other work on the same cores); ``cuda_runtime`` is ``"cuda-python"`` or ``"pycuda"``,
    by default what ``$ENGINEWRIGHT_CUDA_RUNTIME`` says, else cuda-python;
    ``gpu`` says how a plan runs (batches in flight, CUDA graphs). ``shapes`` are input shapes it will be asked to run.
    Raises ``BadInput`` for a directory that holds no engine, ``EngineError`` for an engine that does not fit
    this machine, with the command that rebuilds it.
    """
    manifest = EngineManifest.load(directory)
    check_loadable(manifest, directory, runtime_here(manifest))
    check_shapes(manifest, directory, shapes or {})
    if manifest.backend == "onnxruntime":
        from engines.onnxruntime.engine import OnnxRuntimeEngine
        from engines.onnxruntime.provider import OPTION, ProviderEngine

        if provider := manifest.options.get(OPTION):
            on_gpu = ProviderEngine(directory / manifest.file, provider)
            on_gpu.learn(manifest.inputs, manifest.outputs)
            return on_gpu
        cpu = OnnxRuntimeEngine(directory / manifest.file, threads=threads or manifest.threads, spin=spin)
        cpu.learn(manifest.inputs, manifest.outputs)
        return cpu
    from engines.tensorrt.runtime.engine import load_plan

    plan = load_plan(
        directory / manifest.file,
        library_for(manifest).name,
        settings=gpu,
        cuda_runtime=cuda_runtime,
        plugins=plugin_libraries(manifest.options),
        version_compatible=manifest.has("version_compatible"),
    )
    plan.learn(manifest.inputs, manifest.outputs)
    return plan


def runtime_here(manifest: EngineManifest) -> Runtime:
    """What this machine would run ``manifest`` with. Raises ``BuildError(MISSING_LIBRARY)`` where a GPU is present and
    the library is not.
    """
    if manifest.backend == "onnxruntime":
        return Runtime("onnxruntime", manifest.backend_version, None)  # any version opens an ONNX file
    gpu = used_gpu()
    if gpu is None:  # said first: without a GPU the library's presence does not matter
        return Runtime(manifest.backend, manifest.backend_version, None)
    return Runtime(manifest.backend, library_for(manifest).version, gpu.compute_capability)


def library_for(manifest: EngineManifest) -> Library:
    """The library that runs a plan here; raises ``BuildError(MISSING_LIBRARY)`` naming what would do."""
    name: LibraryName = "tensorrt_rtx" if manifest.backend == "tensorrt_rtx" else "tensorrt"
    return load_runtime(name, version_compatible=manifest.has("version_compatible"))
