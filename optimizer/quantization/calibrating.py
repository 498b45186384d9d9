"""The calibration data as quantization uses it: feeds to look at, and streaming passes over all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from calibration.collect import collect
from calibration.plan import CollectionPlan
from calibration.ranges import choose_ranges
from calibration.statistics import ChannelStatistics, StatisticNeeds
from calibration.table import CalibrationTable
from engines.engine import Feed
from optimizer.quantization.weights import Floats


@dataclass(frozen=True)
class Calibrator:
    """``samples`` gives the calibration feeds anew at every call; ``methods`` the range methods to make tables by.

    ``batchable``: axis 0 of every input counts independent samples. ``calibrated`` is False where the feeds are
    synthetic. ``on_plan`` and ``on_progress`` hear of every pass, see ``calibration.collect``.
    """

    samples: Callable[[], Iterable[Feed]]
    batchable: bool
    methods: Sequence[str]
    calibrated: bool = True
    model_digest: str = ""
    data_digest: str = ""
    on_plan: Callable[[CollectionPlan], None] | None = None
    on_progress: Callable[[int], None] | None = None

    def tables(self, model: ir.Model, tensors: Sequence[str]) -> dict[str, CalibrationTable]:
        """Ranges of the named activations by every method, from one pass over all samples."""
        statistics = collect(
            model,
            tensors,
            self.samples(),
            batchable=self.batchable,
            on_plan=self.on_plan,
            on_progress=self.on_progress,
        )
        return {
            method: choose_ranges(
                statistics,
                method,
                model_digest=self.model_digest,
                data_digest=self.data_digest,
                calibrated=self.calibrated,
            )
            for method in self.methods
        }

    def extremes(self, model: ir.Model, axes: Mapping[str, int]) -> dict[str, tuple[Floats, Floats]]:
        """Least and largest value of every channel along ``axes``, over all samples: name -> two [channels]."""
        needs = [StatisticNeeds(name, histogram=False, channel_axis=axis) for name, axis in axes.items()]
        if not needs:
            return {}
        found = collect(model, needs, self.samples(), batchable=self.batchable, on_progress=self.on_progress)
        return {name: _extremes(found[name].channels.values()) for name in axes}


def _extremes(by_axis: Iterable[ChannelStatistics]) -> tuple[Floats, Floats]:
    (channels,) = by_axis
    return channels.minimum.astype(np.float32), channels.maximum.astype(np.float32)
