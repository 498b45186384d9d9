"""How a statistics pass will run: which activations are reduced inside the runtime, how many samples at once, and the
memory that takes at most. Decided from the graph and one sample, before anything runs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from calibration.histogram import BITS_PER_SIDE
from calibration.statistics import JoinedNeeds
from calibration.summary import sampling_step
from engines.engine import Feed
from graphs.errors import BadInput, first_few
from graphs.reading.shapes import static_shape, with_shapes
from graphs.storage.saving import weight_bytes
from graphs.writing.edits import values_by_name

REDUCIBLE_OPSET = 13
"""The opset from which on the taps' operators are what they are today (ONNX's changelog)."""
GROUP = 4
"""Samples whose histogram values are counted together. Chosen."""
_NAMED = 3
"""Activations that the sentence on memory names. Chosen."""
_FETCH_LIMIT = 128 << 20  # bytes of activations one running sample may hand to numpy
_ACTIVATION_LIMIT = 512 << 20  # bytes of activations of all running samples, when more than one runs
_FLOATS = (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.DOUBLE)


@dataclass(frozen=True)
class TensorKind:
    """What shape inference found of an activation for the sample at hand."""

    dtype: ir.DataType
    shape: tuple[int, ...]

    @property
    def bytes(self) -> int:
        return math.ceil(math.prod(self.shape) * self.dtype.bitwidth / 8)


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

    @property
    def sentence(self) -> str:
        """What a pass takes in memory, in words."""
        known = f"a pass over samples takes at most {self.memory_bound / 1e6:.0f} MB"
        if not self.unsized:
            return known
        return f"{known}, without {first_few(self.unsized, _NAMED)}, whose shape is not known before it runs"


def plan_collection(model: ir.Model, needs: list[JoinedNeeds], sample: Feed, threads: int) -> CollectionPlan:
    """Plan a pass over ``model`` for samples shaped like ``sample``."""
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
        2 * weight_bytes(model)
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


def infer_kinds(model: ir.Model, sample: Feed) -> dict[str, TensorKind]:
    """Type and shape of the activations of the main graph when ``sample`` runs, as far as they can be inferred."""
    concrete = values_by_name(with_shapes(model, {name: array.shape for name, array in sample.items()}).graph)
    found = {}
    for value in (*model.graph.inputs, *(output for node in model.graph for output in node.outputs)):
        inferred = concrete.get(str(value.name))  # an initializer where the shapes make it constant
        shape = static_shape(inferred)
        if inferred is not None and inferred.dtype not in (None, ir.DataType.STRING) and shape is not None:
            found[str(value.name)] = TensorKind(inferred.dtype, shape)
    return found


def _check_float(needs: list[JoinedNeeds], kinds: Mapping[str, TensorKind]) -> None:
    for need in needs:
        kind = kinds.get(need.tensor)
        if kind is None:
            continue
        if kind.dtype not in _FLOATS:
            raise BadInput(
                f"cannot observe a {kind.dtype.name} tensor", where=f"tensor {need.tensor!r}", expected="a float type"
            )
        for axis in need.channel_axes:
            if not -len(kind.shape) <= axis < len(kind.shape):
                shape = "x".join(map(str, kind.shape)) or "scalar"
                raise BadInput(f"shape {shape} has no axis {axis}", where=f"tensor {need.tensor!r}")


def _to_reduce(model: ir.Model, needs: list[JoinedNeeds], kinds: Mapping[str, TensorKind]) -> dict[str, TensorKind]:
    """The largest observed activations, until what is left may be handed to numpy."""
    opset = model.opset_imports.get("", 0)
    inputs = {value.name for value in model.graph.inputs}
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
