"""The scale of a model's inputs, told by its batch norms: they hold the mean and variance that training data had there.

Nothing else in a model says whether images were fed as 0..255, 0..1 or normalized, and synthetic inputs of the wrong
scale calibrate every activation wrongly. Usual preprocessings are tried, then gain and offset of every channel are
refined so that synthetic inputs give the first batch norms what they were trained on. The distance is the divergence
between two normal distributions that ZeroQ (Cai et al. 2020) descends by gradient; there are too few numbers here to
need one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from operator import itemgetter

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from calibration.sources.synthetic import Affine, SyntheticSource
from engines.engine import Array
from engines.onnxruntime.engine import OnnxRuntimeEngine
from engines.onnxruntime.graph import running
from graphs.cutting.taps import cut_at
from graphs.reading.constants import constant_tensor

Floats = NDArray[np.float64]

LAYERS = 6
"""Batch norms that are looked at: the first see little but the scale of the input. Chosen."""
SAMPLES = 12
"""Made-up samples per try; chosen, enough for a mean and a variance per channel of an image."""
PREPROCESSINGS = ((1.0, 0.0), (0.226, 0.449), (0.452, -0.102), (57.6, 114.5), (57.6, 0.0))
"""Gain and offset of normalized scenes: as they are, 0..1, -1..1, 0..255, 0..255 less a mean. Mean and
deviation are ImageNet's, averaged over its three channels (torchvision's transforms)."""
STEPS = (0.4, 0.2, 0.1)
"""Of gains, as factors around one, and of offsets, in deviations; one round of refinement each. Chosen."""
WORTH = 0.98
"""A gain or offset is taken where it lowers the distance by two percent; chosen."""


@dataclass(frozen=True)
class BatchNorm:
    """What a BatchNormalization node was trained on, per channel of the tensor it reads."""

    tensor: str
    mean: Floats
    variance: Floats


def batch_norms(model: ir.Model) -> list[BatchNorm]:
    """The first ``LAYERS`` batch norms with constant statistics, in graph order."""
    found: list[BatchNorm] = []
    for node in model.graph:
        if node.op_type != "BatchNormalization" or node.inputs[0] is None or len(found) == LAYERS:
            continue
        mean, variance = (constant_tensor(value) for value in node.inputs[3:5])
        if mean is not None and variance is not None and (variance.numpy() > 0).all():
            found.append(
                BatchNorm(str(node.inputs[0].name), mean.numpy().astype(float), variance.numpy().astype(float))
            )
    return found


def match_batch_norms(model: ir.Model, source: SyntheticSource) -> SyntheticSource:
    """``source`` with the scale of its input that ``model``'s batch norms tell; unchanged where there are none.

    Only models with one input, an image or a volume, are matched; a note says which scale was found.
    """
    norms, inputs = batch_norms(model), source.scene_inputs
    if not norms or len(inputs) != 1 or len(source.specs) != 1:
        return source
    ((name, axis),) = inputs.items()
    feeds = [feed[name] for feed in islice(source.samples(), SAMPLES)]
    with running(cut_at(model, {norm.tensor for norm in norms})) as engine:
        best = _Fit(engine, norms, name, axis, feeds).best()
    note = f"{name!r} is fed with {best.describe()}, which {len(norms)} batch norms of the model were trained on"
    return source.scaled({name: best}, note)


@dataclass(frozen=True)
class _Fit:
    engine: OnnxRuntimeEngine
    norms: Sequence[BatchNorm]
    name: str
    axis: int
    arrays: Sequence[Array]

    def best(self) -> Affine:
        channels = self.arrays[0].shape[self.axis]
        starts = [Affine.constant(gain, offset, channels) for gain, offset in PREPROCESSINGS]
        distance, affine = min(((self._distance(start), start) for start in starts), key=itemgetter(0))
        for step in STEPS:
            for moved in _moves(affine, step):
                found = self._distance(moved(affine))
                if found < WORTH * distance:
                    distance, affine = found, moved(affine)
        return affine

    def _distance(self, affine: Affine) -> float:
        moments = {norm.tensor: _Moments() for norm in self.norms}
        for array in self.arrays:
            outputs = self.engine.infer({self.name: affine.apply(array, self.axis)})
            for tensor, found in moments.items():
                found.add(outputs[tensor])
        return float(np.mean([_divergence(norm, moments[norm.tensor]) for norm in self.norms]))


def _moves(affine: Affine, step: float) -> Iterator[Callable[[Affine], Affine]]:
    """Gain and offset of all channels together, then of each, up and down."""
    every = np.ones(len(affine.gain))
    for mask in (every, *(np.eye(len(every)) if len(every) > 1 else ())):
        for sign in (1, -1):
            yield partial(Affine.moved, factor=np.exp(sign * step * mask), by=np.zeros_like(mask))
            yield partial(Affine.moved, factor=np.ones_like(mask), by=sign * step * mask)


class _Moments:
    """Mean and variance per channel (axis 1), each sample counting alike."""

    def __init__(self) -> None:
        self._sums: list[Floats] = []
        self._squares: list[Floats] = []

    def add(self, values: Array) -> None:
        axes = tuple(axis for axis in range(values.ndim) if axis != 1)
        self._sums.append(values.mean(axis=axes, dtype=np.float64))
        self._squares.append(np.square(values, dtype=np.float64).mean(axis=axes))

    @property
    def mean(self) -> Floats:
        return np.asarray(np.mean(self._sums, axis=0))

    @property
    def variance(self) -> Floats:
        return np.asarray(np.mean(self._squares, axis=0) - np.square(self.mean))


def _divergence(norm: BatchNorm, found: _Moments) -> float:
    """Mean over channels of the Kullback-Leibler divergence of ``found`` from ``norm``, both taken as normal."""
    ratio = np.maximum(found.variance, 1e-12) / norm.variance
    shift = np.square(found.mean - norm.mean) / norm.variance
    return float(np.mean((ratio + shift - 1 - np.log(ratio)) / 2))
