"""This project's INT8 at its defaults: the graph that TensorRT builds from, and the one the CPU runs.

The steps are those of ``optimize --precision int8``, without its proof, its builds and its measurements; its loop that
keeps more in FP16 where a model is over the accuracy budget does not run either.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from benchmarks.peers.tool import Request
from engines.engine import Feed

if TYPE_CHECKING:
    import onnx_ir as ir

    from calibration.table import CalibrationTable


class Enginewright:
    CONFIGURATIONS = ("tensorrt", "cpu")
    FOR_CPU = frozenset({"cpu"})

    def load(self) -> None:
        for module in ("calibration.collect", "optimizer.stages.typed"):
            importlib.import_module(module)

    def quantize(self, request: Request) -> None:
        from benchmarks.macs import count_macs
        from optimizer.importing import import_model
        from optimizer.passes.clean import clean
        from optimizer.quantization.points import Form
        from optimizer.quantization.quantize import QuantizeSettings, quantize
        from optimizer.saving import save_model
        from optimizer.settings import Precision, Settings
        from optimizer.stages.high_precision import type_rest

        imported = import_model(request.model)
        clean(imported.model)
        feeds = list(_spread(request.feeds, Settings().samples))
        shapes = {name: array.shape for name, array in feeds[0].items()}
        costs = {name: cost.macs for name, cost in count_macs(imported.model, shapes).items() if cost.macs}
        form = Form.ONNXRUNTIME if request.configuration in self.FOR_CPU else Form.TENSORRT
        found = quantize(imported.model, feeds, _Calibration(feeds), QuantizeSettings(form=form, costs=costs))
        if form is Form.TENSORRT:
            type_rest(found.model, found.plan, Precision.INT8, found.table)
        save_model(found.model, request.out)


class _Calibration:
    """One streaming pass over the feeds with the default method."""

    def __init__(self, feeds: Sequence[Feed]) -> None:
        self._feeds = feeds

    def __call__(self, model: ir.Model, tensors: Sequence[str]) -> CalibrationTable:
        from calibration.collect import collect
        from calibration.ranges import choose_ranges
        from engines.engine import joinable
        from optimizer.settings import Settings
        from optimizer.stages.inputs import model_inputs

        statistics = collect(model, tensors, self._feeds, joinable=joinable(model_inputs(model)))
        return choose_ranges(statistics, Settings().calibration, model_digest="", data_digest="", calibrated=True)


def _spread(feeds: Sequence[Feed], count: int) -> Iterator[Feed]:
    """``count`` feeds over the whole of them: the command, too, draws its samples from all the data."""
    step = max(len(feeds) / count, 1.0)
    yield from islice((feeds[int(k * step)] for k in range(len(feeds)) if int(k * step) < len(feeds)), count)


TOOL = Enginewright()
