"""From engines to Triton models: which backend serves what, shapes without batch, batching, instances, warm-up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deployment.served_engine import ServedEngine
from deployment.triton.config import TensorConfig, TritonModel, WarmupInput, data_type
from engines.engine import TensorSpec
from engines.profile import LARGEST_BATCH
from graphs.errors import BadInput
from graphs.model_files import external_files

_RTX_COMMENT = (
    "The plan of this target was built by TensorRT-RTX ahead of time. Triton's TensorRT backend loads plans of the",
    "full TensorRT only, so the typed model.onnx is served instead: ONNX Runtime hands it to TensorRT, which builds on",
    "first load on the server. A plan built on the GPU itself (`optimize MODEL.onnx --target native`) is served as is.",
)


@dataclass(frozen=True)
class TritonOptions:
    """``max_batch`` None takes the engine's own; ``queue_delay_us`` is how long a request may wait for company."""

    max_batch: int | None = None
    instances: int = 1
    queue_delay_us: int = 500
    cuda_graphs: bool = False


@dataclass(frozen=True)
class ModelFolder:
    """A model of the repository: its configuration, and version folder file name -> file in the bundle.

    ``plans`` says that the files are TensorRT's plans, whole in themselves, not an ONNX model with data beside it.
    """

    config: TritonModel
    files: dict[str, Path]
    plans: bool = False
    comment: tuple[str, ...] = ()


def describe_models(
    name: str, bundle: Path, engines: Sequence[ServedEngine], options: TritonOptions
) -> list[ModelFolder]:
    """One model for all plans, one for what goes through ONNX Runtime on a GPU, one for the CPU; those that apply."""
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


def _plan_model(name: str, engines: Sequence[ServedEngine], options: TritonOptions) -> ModelFolder:
    _check_same_tensors(engines)
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
    return ModelFolder(config, {filenames[engine.target]: engine.file for engine in engines}, plans=True)


def _graph_model(name: str, bundle: Path, engines: Sequence[ServedEngine], options: TritonOptions) -> ModelFolder:
    _check_same_tensors(engines)
    model = bundle / "model.onnx"
    if not model.is_file():
        raise BadInput("the typed graph is missing", where=str(model), fix="run `optimize MODEL.onnx` again")
    config = _config(
        name, engines, options, "onnxruntime", "onnxruntime_onnx", "KIND_GPU", "model.onnx",
        accelerator=_tensorrt_parameters(engines[0]),
    )  # fmt: skip
    files = {model.name: model, **{data: model.parent / data for data in external_files(model)}}
    return ModelFolder(config, files, comment=_RTX_COMMENT)


def _tensorrt_parameters(engine: ServedEngine) -> dict[str, str]:
    """Parameters of the TensorRT accelerator, as the README of triton-inference-server/onnxruntime_backend names them.

    The precision mode only permits what the graph's own types ask for.
    """
    mode = {"int8": "INT8", "fp16": "FP16"}.get(engine.manifest.precision, "FP32")
    parameters = {"precision_mode": mode, "trt_engine_cache_enable": "true"}
    for bound in ("min", "opt", "max") if engine.manifest.profile.inputs else ():
        shapes = (
            f"{name}:{'x'.join(map(str, getattr(shape, bound)))}"
            for name, shape in engine.manifest.profile.inputs.items()
        )
        parameters[f"trt_profile_{bound}_shapes"] = ",".join(shapes)
    return parameters


def _cpu_model(name: str, engine: ServedEngine, options: TritonOptions) -> ModelFolder:
    config = _config(name, [engine], options, "onnxruntime", "onnxruntime_onnx", "KIND_CPU", engine.manifest.file)
    return ModelFolder(config, engine.files)


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
) -> TritonModel:
    batch = max_batch_size(engines, options.max_batch)
    manifest = engines[0].manifest
    return TritonModel(
        name=name,
        backend=backend,
        platform=platform,
        inputs=tuple(_tensor(spec, batch) for spec in manifest.inputs),
        outputs=tuple(_tensor(spec, batch) for spec in manifest.outputs),
        max_batch_size=batch,
        filename=filename,
        kind=kind,
        instances=options.instances,
        preferred_batch_sizes=_preferred(engines[0], batch),
        queue_delay_us=options.queue_delay_us,
        warmup=_warmup(engines[0], batch),
        filename_of_capability=by_capability or {},
        tensorrt_accelerator=accelerator,
        cuda_graphs=options.cuda_graphs and kind == "KIND_GPU",
    )


def max_batch_size(engines: Sequence[ServedEngine], asked: int | None) -> int:
    """Triton's ``max_batch_size``: 0 where axis 0 is no batch, else ``asked`` or what every engine covers.

    Raises ``BadInput`` where ``asked`` is negative, beyond a plan's profile, or the model does not batch.
    """
    if asked is not None and asked < 0:
        raise BadInput(f"{asked} is no batch size", where="--max-batch", expected="0 (no batching) or more")
    if asked == 0:
        return 0
    if not all(engine.batches for engine in engines):
        if asked is not None and asked > 1:
            raise BadInput(
                "this model does not batch: axis 0 does not count samples in every input and output",
                where="--max-batch",
            )
        return 0
    limits = [engine.largest_batch for engine in engines if engine.largest_batch is not None]
    limit = min(limits, default=None)
    if asked is not None and limit is not None and asked > limit and engines[0].manifest.backend != "onnxruntime":
        raise BadInput(
            f"batch {asked} is beyond the engine's profile, which ends at {limit}",
            where="--max-batch",
            fix="build with a larger --shape NAME=MIN:OPT:MAX",
        )
    return asked or limit or LARGEST_BATCH


def _tensor(spec: TensorSpec, batch: int) -> TensorConfig:
    return TensorConfig(spec.name, data_type(spec.dtype, spec.name), _dims(spec, batch))


def _dims(spec: TensorSpec, batch: int) -> tuple[int, ...]:
    shape = spec.shape[1:] if batch else spec.shape
    return tuple(dim if isinstance(dim, int) else -1 for dim in shape)


def _preferred(engine: ServedEngine, batch: int) -> tuple[int, ...]:
    """The batch the profile is tuned for and the largest; others would only make requests wait."""
    usual = engine.usual_batch
    return tuple(sorted({size for size in (usual, batch) if size and 1 < size <= batch}))


def _warmup(engine: ServedEngine, batch: int) -> dict[int, tuple[WarmupInput, ...]]:
    """One request of batch 1 and one of the largest, so that no user pays for lazy initialization."""
    inputs = tuple(
        WarmupInput(spec.name, data_type(spec.dtype, spec.name), _warmup_dims(engine, spec, batch))
        for spec in engine.manifest.inputs
    )
    if any(tensor.data_type == "TYPE_STRING" for tensor in inputs):
        return {}
    return dict.fromkeys(sorted({min(batch, 1), batch}), inputs)


def _warmup_dims(engine: ServedEngine, spec: TensorSpec, batch: int) -> tuple[int, ...]:
    shapes = engine.manifest.profile.inputs.get(spec.name)
    full = shapes.opt if shapes else tuple(dim if isinstance(dim, int) else 1 for dim in spec.shape)
    return full[1:] if batch else full


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
