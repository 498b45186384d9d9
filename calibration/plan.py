"""How a statistics pass will run: which activations are reduced inside the runtime, how many samples at once, and the
memory that takes at most. Decided from the graph and one sample, before anything runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx

from calibration.histogram import BITS_PER_SIDE
from calibration.statistics import JoinedNeeds
from calibration.summary import sampling_step
from calibration.taps import REDUCIBLE_OPSET, TensorKind
from engines.engine import Feed
from graphs.errors import BadInput

GROUP = 4  # samples whose histogram values are counted together
_FETCH_LIMIT = 128 << 20  # bytes of activations one running sample may hand to numpy
_ACTIVATION_LIMIT = 512 << 20  # bytes of activations of all running samples, when more than one runs
_FLOATS = (
    onnx.TensorProto.FLOAT,
    onnx.TensorProto.FLOAT16,
    onnx.TensorProto.BFLOAT16,
    onnx.TensorProto.DOUBLE,
)


@dataclass(frozen=True)
class CollectionPlan:
    """``workers`` samples run at once on ``threads_each`` cores; ``reduced`` tensors never leave the runtime.

    ``memory_bound`` is bytes on top of the process as it stands: weights (held twice while the runtime packs them),
    every activation of the running samples (twice: the runtime's arena is rounded up), the values kept for histograms
    and their bins. It holds for samples no larger than the first and grows with their size, never with their number.
    Activations whose shape cannot be inferred are not in it: see ``unsized``.
    """

    workers: int
    threads_each: int
    reduced: Mapping[str, TensorKind]
    memory_bound: int
    unsized: tuple[str, ...]


def plan_collection(
    model: onnx.ModelProto, weight_bytes: int, needs: list[JoinedNeeds], sample: Feed, threads: int
) -> CollectionPlan:
    """Plan a pass over ``model`` (weights may stay external) for samples shaped like ``sample``."""
    kinds = infer_kinds(model, sample)
    _check_float(needs, kinds)
    activations = sum(kind.bytes for kind in kinds.values())
    workers = max(1, min(threads, _ACTIVATION_LIMIT // max(activations, 1)))
    histogram_bytes = len(needs) * (2 << BITS_PER_SIDE) * 8
    sampled_bytes = sum(_sampled_bytes(kinds[need.tensor]) for need in needs if need.tensor in kinds)
    return CollectionPlan(
        workers,
        max(threads // workers, 1),
        _to_reduce(model, needs, kinds),
        2 * weight_bytes
        + 2 * workers * activations  # the runtime's arena grows by powers of two
        + 3 * workers * GROUP * sampled_bytes
        + (workers + 3) * histogram_bytes
        + (workers + 1) * GROUP * sum(array.nbytes for array in sample.values()),
        tuple(need.tensor for need in needs if need.tensor not in kinds),
    )


def _sampled_bytes(kind: TensorKind) -> int:
    """Bytes of the float32 values of one activation that enter the histogram."""
    size = int(np.prod(kind.shape, dtype=np.int64))
    return -(-size // sampling_step(size)) * 4


def infer_kinds(model: onnx.ModelProto, sample: Feed) -> dict[str, TensorKind]:
    """Type and shape of the activations of the main graph when ``sample`` runs, as far as ONNX can infer them."""
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    del probe.graph.value_info[:]
    for value in probe.graph.output:
        value.type.tensor_type.ClearField("shape")
    for value in probe.graph.input:
        if value.name in sample:
            _fix_shape(value, sample[value.name].shape)
    inferred = onnx.shape_inference.infer_shapes(probe, data_prop=True).graph
    values = [*inferred.input, *inferred.value_info, *inferred.output]
    return {value.name: kind for value in values if (kind := _kind(value)) is not None}


def _fix_shape(value: onnx.ValueInfoProto, shape: Iterable[int]) -> None:
    dims = value.type.tensor_type.shape
    dims.ClearField("dim")
    for size in shape:
        dims.dim.add().dim_value = size


def _kind(value: onnx.ValueInfoProto) -> TensorKind | None:
    tensor = value.type.tensor_type
    dims = tensor.shape.dim
    if not tensor.elem_type or not tensor.HasField("shape") or not all(dim.HasField("dim_value") for dim in dims):
        return None
    return TensorKind(tensor.elem_type, tuple(dim.dim_value for dim in dims))


def _check_float(needs: list[JoinedNeeds], kinds: Mapping[str, TensorKind]) -> None:
    for need in needs:
        kind = kinds.get(need.tensor)
        if kind is None:
            continue
        if kind.element_type not in _FLOATS:
            found = onnx.TensorProto.DataType.Name(kind.element_type)
            raise BadInput(f"cannot observe a {found} tensor", where=f"tensor {need.tensor!r}", expected="a float type")
        for axis in need.channel_axes:
            if not -len(kind.shape) <= axis < len(kind.shape):
                shape = "x".join(map(str, kind.shape)) or "scalar"
                raise BadInput(f"shape {shape} has no axis {axis}", where=f"tensor {need.tensor!r}")


def _to_reduce(
    model: onnx.ModelProto, needs: list[JoinedNeeds], kinds: Mapping[str, TensorKind]
) -> dict[str, TensorKind]:
    """The largest observed activations, until what is left may be handed to numpy."""
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
    inputs = {value.name for value in model.graph.input}
    sized = {n.tensor: kinds[n.tensor] for n in needs if n.tensor in kinds and n.tensor not in inputs}
    left = sum(kind.bytes for kind in sized.values())
    reduced: dict[str, TensorKind] = {}
    if opset < REDUCIBLE_OPSET:
        return reduced
    for name in sorted(sized, key=lambda name: sized[name].bytes, reverse=True):
        if left <= _FETCH_LIMIT:
            break
        reduced[name] = sized[name]
        left -= sized[name].bytes
    return reduced
