"""Triton's model configuration, what one ``config.pbtxt`` says.

Fields and enums: ``model_config.proto`` of triton-inference-server/common. The tests parse what is written with that
very proto.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from deployment.triton.repository.pbtxt import Symbol, Value
from graphs.errors import BadInput

_TYPES = {
    "bool": "TYPE_BOOL",
    "uint8": "TYPE_UINT8",
    "uint16": "TYPE_UINT16",
    "uint32": "TYPE_UINT32",
    "uint64": "TYPE_UINT64",
    "int8": "TYPE_INT8",
    "int16": "TYPE_INT16",
    "int32": "TYPE_INT32",
    "int64": "TYPE_INT64",
    "float16": "TYPE_FP16",
    "float32": "TYPE_FP32",
    "float64": "TYPE_FP64",
    "bfloat16": "TYPE_BF16",
    "object": "TYPE_STRING",
}


def data_type(dtype: str, tensor: str) -> Symbol:
    """Triton's name of a numpy dtype. Raises ``BadInput`` naming the tensor for one that Triton does not serve."""
    if dtype not in _TYPES:
        raise BadInput(f"Triton has no data type for {dtype}", where=tensor, expected=", ".join(_TYPES))
    return Symbol(_TYPES[dtype])


@dataclass(frozen=True)
class TensorConfig:
    """An input or output. ``dims`` leaves the batch out where the model batches; -1 is a dynamic dimension.

    Triton wants at least one dimension: an empty ``dims`` is written as ``[ 1 ]`` reshaped to ``[ ]``, which it takes
    of a model that batches only.
    """

    name: str
    data_type: Symbol
    dims: tuple[int, ...]

    def message(self) -> dict[str, Value]:
        message: dict[str, Value] = {"name": self.name, "data_type": self.data_type, "dims": list(self.dims) or [1]}
        if not self.dims:
            message["reshape"] = {"shape": []}
        return message


@dataclass(frozen=True)
class WarmupInput:
    """One input of a warm-up request; dims without the batch, every one positive."""

    name: str
    data_type: Symbol
    dims: tuple[int, ...]


@dataclass(frozen=True)
class RateLimit:
    """What an instance takes of named resources while it runs, of those the server has (``--rate-limit-resource``);
    of two that wait, the one of the smaller ``priority`` number goes first."""

    resources: dict[str, int]
    priority: int = 1

    def message(self) -> dict[str, Value]:
        resources: list[Value] = [{"name": name, "count": count} for name, count in self.resources.items()]
        return {"resources": resources, "priority": self.priority}


@dataclass(frozen=True)
class EnsembleStep:
    """A model of an ensemble: its tensors' names -> the ensemble's, in and out."""

    model: str
    inputs: dict[str, str]
    outputs: dict[str, str]

    def message(self) -> dict[str, Value]:
        return {
            "model_name": self.model,
            "model_version": -1,
            "input_map": _pairs(self.inputs),
            "output_map": _pairs(self.outputs),
        }


@dataclass(frozen=True)
class TritonModel:
    """What one ``config.pbtxt`` says.

    ``max_batch_size`` 0 turns batching off, and ``dims`` then hold every dimension. ``warmup`` maps a request's batch
    size to its inputs. ``filename_of_capability`` maps ``"7.5"`` to the plan that GPUs of this compute capability load.
    ``tensorrt_accelerator`` are the parameters under which ONNX Runtime hands the graph to TensorRT, None for not.
    ``parameters`` are a backend's own. ``keep_versions`` is how many version folders are served, the newest.
    ``version_compatible`` plans need an option of the server (``server_options``).
    ``steps`` make it an ensemble, which has no file and no instances of its own. ``origins`` say of a field where its
    value is from, in a comment: Triton does not read them.
    """

    name: str
    backend: str
    inputs: tuple[TensorConfig, ...]
    outputs: tuple[TensorConfig, ...]
    max_batch_size: int
    filename: str
    platform: str = ""
    kind: str = "KIND_GPU"
    instances: int = 1
    preferred_batch_sizes: tuple[int, ...] = ()
    queue_delay_us: int = 0
    warmup: dict[int, tuple[WarmupInput, ...]] = field(default_factory=dict)
    filename_of_capability: dict[str, str] = field(default_factory=dict)
    tensorrt_accelerator: dict[str, str] | None = None
    cuda_graphs: bool = False
    parameters: dict[str, str] = field(default_factory=dict)
    keep_versions: int = 1
    response_cache: bool = False
    rate_limit: RateLimit | None = None
    version_compatible: bool = False
    steps: tuple[EnsembleStep, ...] = ()
    origins: dict[str, str] = field(default_factory=dict)

    def message(self) -> dict[str, Value]:
        """The ``inference.ModelConfig`` message."""
        if self.steps:
            return self._ensemble()
        message: dict[str, Value] = {"name": self.name, "backend": self.backend}
        if self.platform:
            message["platform"] = self.platform
        message |= {
            "default_model_filename": self.filename,
            "max_batch_size": self.max_batch_size,
            "input": [tensor.message() for tensor in self.inputs],
            "output": [tensor.message() for tensor in self.outputs],
            "instance_group": [self._instances()],
            "version_policy": {"latest": {"num_versions": self.keep_versions}},
        }
        if self.max_batch_size > 1:
            message["dynamic_batching"] = self._batching()
        if optimization := self._optimization():
            message["optimization"] = optimization
        if self.response_cache:
            message["response_cache"] = {"enable": True}
        message["parameters"] = [
            {"key": key, "value": {"string_value": value}} for key, value in self.parameters.items()
        ]
        message["cc_model_filenames"] = _pairs(self.filename_of_capability)
        message["model_warmup"] = [_warmup(batch, inputs) for batch, inputs in self.warmup.items()]
        return message

    def _ensemble(self) -> dict[str, Value]:
        """Without reshapes: the tensors are those that the models of the steps show, reshaped by their own."""
        return {
            "name": self.name,
            "platform": "ensemble",
            "max_batch_size": self.max_batch_size,
            "input": [replace(tensor, dims=tensor.dims or (1,)).message() for tensor in self.inputs],
            "output": [replace(tensor, dims=tensor.dims or (1,)).message() for tensor in self.outputs],
            "ensemble_scheduling": {"step": [step.message() for step in self.steps]},
        }

    def _instances(self) -> dict[str, Value]:
        group: dict[str, Value] = {"kind": Symbol(self.kind), "count": self.instances}
        return group | ({"rate_limiter": self.rate_limit.message()} if self.rate_limit else {})

    def _optimization(self) -> dict[str, Value]:
        optimization: dict[str, Value] = {"cuda": {"graphs": True}} if self.cuda_graphs else {}
        if self.tensorrt_accelerator is not None:
            accelerator = {"name": "tensorrt", "parameters": _pairs(self.tensorrt_accelerator)}
            optimization["execution_accelerators"] = {"gpu_execution_accelerator": [accelerator]}
        return optimization

    def _batching(self) -> dict[str, Value]:
        batching: dict[str, Value] = {"max_queue_delay_microseconds": self.queue_delay_us}
        if self.preferred_batch_sizes:
            batching["preferred_batch_size"] = list(self.preferred_batch_sizes)
        return batching


def _pairs(entries: Mapping[str, str]) -> list[Value]:
    return [{"key": key, "value": value} for key, value in entries.items()]


def _warmup(batch: int, inputs: Sequence[WarmupInput]) -> dict[str, Value]:
    entries: list[Value] = [
        {
            "key": tensor.name,
            "value": {"data_type": tensor.data_type, "dims": list(tensor.dims) or [1], **_fill(tensor)},
        }
        for tensor in inputs
    ]
    return {"name": f"batch_{max(batch, 1)}", "batch_size": batch, "inputs": entries}


def _fill(tensor: WarmupInput) -> dict[str, Value]:
    # Random integers could index out of an embedding; zeros are a valid token of every model.
    real = tensor.data_type in ("TYPE_FP16", "TYPE_FP32", "TYPE_FP64", "TYPE_BF16")
    return {"random_data": True} if real else {"zero_data": True}
