"""What HTTP and gRPC have in common between reading a request and writing its answer, and what a server says of
itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Sized
from typing import Any

from deployment.serving.refusals import Refusal, bad_request
from deployment.serving.repository import Repository
from deployment.serving.tensors import datatype, wire_shape
from deployment.serving.version import ServedVersion
from engines.engine import Array, Feed, TensorSpec
from graphs.errors import EnginewrightError, in_a_line

SERVER_NAME = "enginewright"
EXTENSIONS = ("binary_tensor_data", "model_repository", "model_configuration", "statistics")
"""The protocol's extensions that are served."""
_BACKENDS = {
    "onnxruntime": ("onnxruntime_onnx", "onnxruntime"),
    "tensorrt": ("tensorrt_plan", "tensorrt"),
    "tensorrt_rtx": ("tensorrt_rtx_plan", "tensorrt_rtx"),
}


async def answer(version: ServedVersion, feed: Feed) -> dict[str, Array]:
    """Every output. Raises ``Refusal``: 400 where the feed does not fit, 500 where the engine failed."""
    try:
        version.check(feed)
    except EnginewrightError as error:
        raise Refusal(400, in_a_line(error)) from error
    try:
        return await version.infer(feed)
    except EnginewrightError as error:
        raise Refusal(500, in_a_line(error)) from error


def wanted_outputs(version: ServedVersion, names: Sequence[str]) -> Sequence[str]:
    """The outputs a request asks for, all where it names none. Raises ``Refusal`` for an unknown one."""
    known = [spec.name for spec in version.outputs]
    for name in names:
        if name not in known:
            raise bad_request(f"the model has no output {name[:80]!r}", expected=f"one of {', '.join(known)}")
    return names or known


def refuse_parameters(parameters: Iterable[str], where: str) -> None:
    """Raise ``Refusal`` for what would change the answer and is not served: shared memory, classification."""
    for name in parameters:
        if "shared_memory" in name or name == "classification":
            raise bad_request(f"{name} is not served", where=where, expected="tensors in the request and the answer")


async def load_bundle(repository: Repository, name: str, parameters: Sized) -> None:
    """The repository extension's ``load``. Raises ``Refusal``, too, where it brings a configuration or files of its
    own."""
    if parameters:
        raise bad_request(
            "parameters of a load are not served", expected="none: the bundle is read again from its path"
        )
    try:
        await repository.load(name)
    except EnginewrightError as error:
        raise Refusal(400, in_a_line(error)) from error


def server_metadata(version: str) -> dict[str, Any]:
    return {"name": SERVER_NAME, "version": version, "extensions": list(EXTENSIONS)}


def model_metadata(version: ServedVersion, versions: Sequence[str]) -> dict[str, Any]:
    """Names, types and shapes; -1 is a dynamic axis."""
    return {
        "name": version.name,
        "versions": list(versions),
        "platform": _BACKENDS[version.served.manifest.backend][0],
        "inputs": [_tensor(spec) for spec in version.inputs],
        "outputs": [_tensor(spec) for spec in version.outputs],
    }


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": datatype(spec), "shape": wire_shape(spec)}


def model_config(version: ServedVersion) -> dict[str, Any]:
    """As Triton's ``ModelConfig`` says it; ``dims`` leave the batch out where requests are joined."""
    joins = bool(version.joining.inputs)
    platform, backend = _BACKENDS[version.served.manifest.backend]
    config: dict[str, Any] = {
        "name": version.name,
        "platform": platform,
        "backend": backend,
        "max_batch_size": version.joining.rows if joins else 0,
        "input": [_config(spec, joins and spec.name in version.joining.inputs) for spec in version.inputs],
        "output": [_config(spec, joins) for spec in version.outputs],
        "instance_group": [{"kind": _kind(version), "count": version.instances}],
    }
    if joins:
        config["dynamic_batching"] = {"max_queue_delay_microseconds": round(version.joining.delay * 1e6)}
    return config


def _kind(version: ServedVersion) -> str:
    return "KIND_CPU" if version.served.manifest.compute_capability is None else "KIND_GPU"


def _config(spec: TensorSpec, batched: bool) -> dict[str, Any]:
    return {"name": spec.name, "data_type": f"TYPE_{datatype(spec)}", "dims": wire_shape(spec)[1 if batched else 0 :]}


def model_statistics(version: ServedVersion) -> dict[str, Any]:
    """As the statistics extension says it; times in nanoseconds since the version was loaded."""
    figures = version.figures
    done = figures.requests - figures.failed
    return {
        "name": version.name,
        "version": version.version,
        "inference_count": figures.rows,
        "execution_count": figures.runs,
        "inference_stats": {
            "success": {"count": done, "ns": figures.queue_ns + figures.compute_ns},
            "fail": {"count": figures.failed, "ns": 0},
            "queue": {"count": figures.requests, "ns": figures.queue_ns},
            "compute_infer": {"count": figures.runs, "ns": figures.compute_ns},
        },
        "batch_stats": [
            {"batch_size": rows, "compute_infer": {"count": batch.count, "ns": batch.compute_ns}}
            for rows, batch in sorted(figures.batches.items())
        ],
    }
