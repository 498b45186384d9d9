"""The ways this machine can run a model on its GPU: TensorRT, TensorRT-RTX, ONNX Runtime's GPU providers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from engines.build import BuildRequest, build_engine
from engines.engine import Engine
from engines.errors import EngineError
from engines.manifest import EngineManifest
from engines.onnxruntime.engine import OnnxRuntimeEngine
from engines.profile import ShapeProfile
from engines.targets.target import TARGETS, LibraryName, Target
from engines.tensorrt.library import Library, installed, load_library
from engines.tensorrt.runtime.engine import GpuSettings, load_plan
from engines.tensorrt.runtime.plan import Validity, engine_validity

_OPENER = """from pathlib import Path

from studies.gpu_check.candidates import ProviderEngine


def open_engine() -> ProviderEngine:
    return ProviderEngine(Path({model!r}), {provider!r})
"""
GPU_PROVIDERS = ("CUDAExecutionProvider", "TensorrtExecutionProvider", "NvTensorRTRTXExecutionProvider")
STAND_IN = TARGETS["a100"]  # what TensorRT-RTX builds for where it does not know the GPU at hand


@dataclass(frozen=True)
class Prepared:
    """A built plan or a session; ``open(graphs)`` makes an engine of it, and ``source`` is what LoadGen's child opens:
    an engine folder, or ``file.py:function``. Empty where it cannot."""

    open: Callable[[bool], Engine]
    graphs: bool
    notes: tuple[str, ...] = ()
    build_seconds: float | None = None
    engine_bytes: int | None = None
    source: str = ""


@dataclass(frozen=True)
class Candidate:
    """One way to run the model. ``prepare`` builds; it raises one of our errors where that cannot be done."""

    name: str
    prepare: Callable[[], Prepared]


@dataclass(frozen=True)
class Job:
    """What to build: a typed ONNX model, its shapes, the GPU it is for, a scratch folder and how plans run."""

    model: Path
    profile: ShapeProfile
    target: Target
    work: Path
    slots: int = 2
    cuda_runtime: str = "cuda-python"


def candidates(job: Job) -> Iterator[Candidate]:
    """Everything installed here that runs on a GPU, TensorRT first."""
    names: tuple[LibraryName, ...] = ("tensorrt", "tensorrt_rtx")
    for name in names:
        if installed(name):
            yield Candidate(name, partial(_plan, job, name))
    for provider in gpu_providers():
        yield Candidate(f"onnxruntime {provider}", partial(_session, job, provider))


def gpu_providers() -> tuple[str, ...]:
    """The GPU execution providers of the installed ONNX Runtime."""
    import onnxruntime

    return tuple(name for name in GPU_PROVIDERS if name in onnxruntime.get_available_providers())


def _plan(job: Job, name: LibraryName) -> Prepared:
    library = load_library(name)
    known = library.capabilities.compute_capability_targets
    stand_in = bool(known) and job.target.sm not in known
    target = STAND_IN if stand_in else job.target
    folder = job.work / library.name
    manifest = build_engine(
        BuildRequest(job.model, target, job.profile, folder, "as in the graph", library=library.name), cache=False
    )
    plan = folder / manifest.file
    validity = engine_validity(library, plan)
    return Prepared(
        open=lambda graphs: load_plan(
            plan, library.name, settings=GpuSettings(slots=job.slots, graphs=graphs), cuda_runtime=job.cuda_runtime
        ),
        graphs=True,
        notes=_notes(job.target, target, library, validity, manifest),
        build_seconds=manifest.build_seconds,
        engine_bytes=manifest.bytes,
        source="" if stand_in else str(folder),
    )


def _notes(
    gpu: Target, built: Target, library: Library, validity: Validity, manifest: EngineManifest
) -> tuple[str, ...]:
    notes = [library.title]
    if built.sm != gpu.sm:
        notes.append(f"{library.title} does not build for {gpu.sm}; this plan was built for {built.sm}")
    if validity.state != "unknown":
        reasons = f" ({', '.join(validity.reasons)})" if validity.reasons else ""
        notes.append(f"get_engine_validity on this {gpu.sm}: {validity.state}{reasons}")
    return (*notes, *manifest.ignored, *manifest.notes)


def _session(job: Job, provider: str) -> Prepared:
    opener = job.work / f"open_{provider}.py"
    opener.write_text(_OPENER.format(model=str(job.model.absolute()), provider=provider), encoding="utf-8")
    return Prepared(lambda _: ProviderEngine(job.model, provider), graphs=False, source=f"{opener}:open_engine")


def _preload(onnxruntime: Any) -> None:
    """Load the CUDA and cuDNN that pip installed, which the GPU providers do not find by themselves (from 1.21 on)."""
    if hasattr(onnxruntime, "preload_dlls") and gpu_providers():
        with redirect_stdout(sys.stderr):  # it prints what it does not find
            onnxruntime.preload_dlls()


class ProviderEngine(OnnxRuntimeEngine):
    """ONNX Runtime on one execution provider, with nothing falling back silently to another one for the session."""

    def __init__(self, model: Path, provider: str) -> None:
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as ort_state

        _preload(onnxruntime)
        super().__init__(model)  # inputs, outputs and their checks; its CPU session is replaced
        options: Any = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        try:
            # without enable_fallback=0 it prints why the provider did not start, and goes on with the CPU
            session: Any = onnxruntime.InferenceSession(str(model), options, providers=[provider], enable_fallback=0)
        except (ort_state.EPFail, ort_state.Fail, ort_state.RuntimeException, ValueError, RuntimeError) as error:
            raise EngineError(f"{provider} did not start: {str(error).strip()}", where=str(model)) from error
        if session.get_providers()[0] != provider:
            raise EngineError(f"{provider} did not start: ONNX Runtime fell back to the CPU", where=str(model))
        self._session = session
