"""From engines to Triton models: which backend serves what, shapes without batch, batching, instances, warm-up."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from deployment.served_engine import ServedEngine
from deployment.triton import python_backend
from deployment.triton.repository import tensorrt_accelerator
from deployment.triton.repository.config import TritonModel
from deployment.triton.repository.containers import check_graph, check_plan, containers_for
from deployment.triton.repository.engine_config import (
    max_batch_size,
    preferred_batches,
    tensor_configs,
    warmup_requests,
)
from deployment.triton.repository.measured import Searched
from deployment.triton.repository.options import PYTHON, TritonOptions
from deployment.triton.repository.origins import with_origins
from engines.engine import EngineBase, Feed
from engines.manifest import MANIFEST_NAME
from graphs.errors import BadInput
from graphs.storage.model_files import external_files

_ENGINE_MODEL = Path(python_backend.__file__).parent / "engine_model.py"
_ENGINE_FOLDER = "engine"
_PYTHON_COMMENT = (
    "Triton's Python backend runs the bundle's own engine. The package enginewright must be installed for the Python",
    "of that backend (pip install enginewright in the container).",
)


@dataclass(frozen=True)
class Pipeline:
    """What an ensemble does besides the engine: ``around`` puts its functions around the engine in this process;
    ``raw`` is a sample of what clients send, ``more`` are others, of other sizes."""

    around: Callable[[EngineBase], EngineBase]
    raw: Feed
    more: tuple[Feed, ...] = ()


@dataclass(frozen=True)
class ModelFolder:
    """A model of the repository: its configuration, and path in the version folder -> file in the bundle.

    ``plans`` says that the files are TensorRT's plans, whole in themselves, not an ONNX model with data beside it.
    ``engine`` is one of the engines it serves, whose answers it should give; with ``pipeline``, through its functions.
    A ``part`` of an ensemble runs no engine.
    """

    config: TritonModel
    files: dict[str, Path]
    engine: ServedEngine
    plans: bool = False
    comment: tuple[str, ...] = ()
    pipeline: Pipeline | None = None
    part: bool = False


def describe_models(
    name: str,
    bundle: Path,
    engines: Sequence[ServedEngine],
    options: TritonOptions,
    found: Mapping[str, Searched] | None = None,
) -> list[ModelFolder]:
    """One model for all plans, one for what goes through ONNX Runtime on a GPU, one for the CPU; those that apply. With
    the Python backend, one for each engine. ``found`` is what was searched, by target.

    Raises ``BadInput`` for a plan that the named container does not load, and for an option that changes nothing.
    """
    models = [
        replace(model, config=with_origins(model.config, model.engine, options, (found or {}).get(model.engine.target)))
        for model in _models(name, bundle, engines, options)
    ]
    for option, given, used in (
        ("--cuda-graphs", options.cuda_graphs, any(model.plans for model in models)),
        ("--queue-delay", options.queue_delay_us, any(model.config.max_batch_size > 1 for model in models)),
    ):
        if given and not used:
            why = "no TensorRT plan is served" if option == "--cuda-graphs" else "no request is joined with another"
            raise BadInput(f"changes nothing here: {why}", where=option, fix="leave it out")
    return models


def _models(name: str, bundle: Path, engines: Sequence[ServedEngine], options: TritonOptions) -> list[ModelFolder]:
    if options.backend == PYTHON:
        alone = len(engines) == 1
        return [_python_model(name if alone else f"{name}_{e.target}", e, options) for e in engines]
    cpu = [engine for engine in engines if engine.manifest.backend == "onnxruntime"]
    rtx = [engine for engine in engines if engine.manifest.backend == "tensorrt_rtx"]
    plans = [engine for engine in engines if engine.manifest.backend == "tensorrt"]
    several = sum(map(bool, (cpu, rtx, plans))) > 1
    models: list[ModelFolder] = []
    if plans:
        models.append(_plan_model(name, plans, options))
    if rtx:
        models.append(_graph_model(f"{name}_onnx" if plans else name, bundle, rtx, options))
    models += [_cpu_model(f"{name}_cpu" if several else name, engine, options) for engine in cpu]
    return models


def _python_model(name: str, engine: ServedEngine, options: TritonOptions) -> ModelFolder:
    for spec in (*engine.manifest.inputs, *engine.manifest.outputs):
        if spec.dtype == "bfloat16":
            raise BadInput(
                f"{spec.name!r} is bfloat16, which Triton's Python backend cannot hand over as an array",
                where="--backend python",
            )
    kind = "KIND_CPU" if engine.manifest.backend == "onnxruntime" else "KIND_GPU"
    parameters = {"threads": str(options.threads)} if options.threads else {}
    if kind == "KIND_GPU":
        parameters["FORCE_CPU_ONLY_INPUT_TENSORS"] = "yes"  # the engine takes numpy arrays
    config = _config(name, [engine], options, "python", "", kind, "model.py", parameters=parameters)
    inside = {MANIFEST_NAME: engine.folder / MANIFEST_NAME, **engine.files}
    files = {"model.py": _ENGINE_MODEL, **{f"{_ENGINE_FOLDER}/{file}": path for file, path in inside.items()}}
    return ModelFolder(config, files, engine, comment=_PYTHON_COMMENT)


def _plan_model(name: str, engines: Sequence[ServedEngine], options: TritonOptions) -> ModelFolder:
    _check_same_tensors(engines)
    if options.container is not None:
        for engine in engines:
            check_plan(engine.manifest, options.container, str(engine.file))
    if len(engines) == 1:
        filenames = {engines[0].target: "model.plan"}
        by_capability: dict[str, str] = {}
    else:
        filenames = {engine.target: f"model_{engine.target}.plan" for engine in engines}
        by_capability = _by_capability(engines, filenames)
    config = _config(
        name, engines, options, "tensorrt", "tensorrt_plan", "KIND_GPU", filenames[engines[0].target],
        by_capability=by_capability,
    )  # fmt: skip
    files = {filenames[engine.target]: engine.file for engine in engines}
    return ModelFolder(config, files, engines[0], plans=True, comment=_plan_comment(engines, options))


def _plan_comment(engines: Sequence[ServedEngine], options: TritonOptions) -> tuple[str, ...]:
    versions = sorted({engine.manifest.backend_version for engine in engines})
    lines = [f"Plans of TensorRT {', '.join(versions)}: the server must have that version."]
    if options.container is not None:
        container = options.container
        lines.append(f"For {container.image}, which has {container.tensorrt} ({container.source.value}).")
    elif len(versions) == 1 and (known := containers_for(versions[0])):
        lines.append(
            f"NVIDIA's containers that do, by our table (triton/repository/containers.py): {', '.join(known)}."
        )
    if any(engine.manifest.has("version_compatible") for engine in engines):
        lines.append("Version-compatible: start the server with --backend-config=tensorrt,version-compatible=true.")
    return tuple(lines)


def _graph_model(name: str, bundle: Path, engines: Sequence[ServedEngine], options: TritonOptions) -> ModelFolder:
    _check_same_tensors(engines)
    model = bundle / "model.onnx"
    if not model.is_file():
        raise BadInput("the typed graph is missing", where=str(model), fix="run `optimize MODEL.onnx` again")
    if options.container is not None:
        check_graph(model, options.container)
    config = _config(
        name, engines, options, "onnxruntime", "onnxruntime_onnx", "KIND_GPU", "model.onnx",
        accelerator=tensorrt_accelerator.parameters(engines[0]),
    )  # fmt: skip
    files = {model.name: model, **{data: model.parent / data for data in external_files(model)}}
    return ModelFolder(config, files, engines[0], comment=tensorrt_accelerator.comment(engines[0]))


def _cpu_model(name: str, engine: ServedEngine, options: TritonOptions) -> ModelFolder:
    if options.container is not None:
        check_graph(engine.file, options.container)
    config = _config(name, [engine], options, "onnxruntime", "onnxruntime_onnx", "KIND_CPU", engine.manifest.file)
    return ModelFolder(config, engine.files, engine)


def _config(
    name: str,
    engines: Sequence[ServedEngine],
    options: TritonOptions,
    backend: str,
    platform: str,
    kind: str,
    filename: str,
    *,
    by_capability: dict[str, str] | None = None,
    accelerator: dict[str, str] | None = None,
    parameters: dict[str, str] | None = None,
) -> TritonModel:
    batch = max_batch_size(engines, options.max_batch)
    manifest = engines[0].manifest
    return TritonModel(
        name=name,
        backend=backend,
        platform=platform,
        inputs=tensor_configs(manifest.inputs, batch),
        outputs=tensor_configs(manifest.outputs, batch),
        max_batch_size=batch,
        filename=filename,
        kind=kind,
        instances=options.instances or 1,
        preferred_batch_sizes=preferred_batches(engines[0], batch) if options.preferred is None else options.preferred,
        queue_delay_us=options.queue_delay_us or 0,
        warmup=warmup_requests(engines[0], batch),
        filename_of_capability=by_capability or {},
        tensorrt_accelerator=accelerator,
        cuda_graphs=options.cuda_graphs and backend == "tensorrt",
        parameters=parameters or {},
        keep_versions=options.keep_versions,
        response_cache=options.response_cache,
        rate_limit=options.rate_limit,
        version_compatible=backend == "tensorrt" and any(e.manifest.has("version_compatible") for e in engines),
    )


def _check_same_tensors(engines: Sequence[ServedEngine]) -> None:
    first = engines[0]
    for other in engines[1:]:
        if (first.manifest.inputs, first.manifest.outputs) != (other.manifest.inputs, other.manifest.outputs):
            raise BadInput(
                f"the engines of {first.target} and {other.target} differ in inputs or outputs",
                where=str(other.file),
                fix="write one repository per target",
            )


def _by_capability(engines: Sequence[ServedEngine], filenames: dict[str, str]) -> dict[str, str]:
    chosen: dict[str, str] = {}
    for engine in engines:
        if engine.manifest.compute_capability is None:
            raise BadInput(f"engine.json of {engine.target} names no compute capability", where=str(engine.file))
        capability = "{}.{}".format(*engine.manifest.compute_capability)
        if capability in chosen:
            raise BadInput(
                f"two engines for compute capability {capability}: {chosen[capability]}, {filenames[engine.target]}",
                where="--target",
                fix="name one of them",
            )
        chosen[capability] = filenames[engine.target]
    return chosen
