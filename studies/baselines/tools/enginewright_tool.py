"""This project's INT8 at its defaults: the graph that TensorRT builds from, and the one the CPU runs.

The steps are those of ``optimize --precision int8``, without its accuracy check, builds and measurements; its loop that
keeps more in FP16 where a model is over the accuracy budget does not run either. All samples given are used, as with
every tool here; the command takes 512 where ``--samples`` does not say more.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from engines.engine import Feed, batchable
from studies.baselines.task import joined
from studies.baselines.tool import Request

if TYPE_CHECKING:
    import onnx_ir as ir

    from optimizer.quantization.observing.calibrating import Calibrator
    from optimizer.quantization.settings import QuantizeSettings


class Enginewright:
    """``entropy-only`` is like for like with the baselines' entropy in cost: one method, no correction, no fallback."""

    CONFIGURATIONS = ("tensorrt", "cpu", "entropy-only")
    FOR_CPU = frozenset({"cpu"})

    def load(self) -> None:
        for module in ("calibration.collect", "optimizer.stages.forms.typed"):
            importlib.import_module(module)

    def quantize(self, request: Request) -> None:
        from graphs.storage.saving import save_model
        from optimizer.importing import import_model
        from optimizer.passes.clean import clean
        from optimizer.quantization.observing.calibrating import Calibrator
        from optimizer.stages.data.inputs import model_inputs
        from optimizer.stages.forms.calibrated import AUTO_METHODS

        model = import_model(request.model).model
        clean(model)
        feeds = _samples(model, request.feeds)
        largest = max(feeds, key=lambda feed: sum(array.size for array in feed.values()))
        settings = self.settings(model, largest, request.configuration)
        methods = ("entropy",) if request.configuration == "entropy-only" else AUTO_METHODS
        calibrator = Calibrator(lambda: feeds, batchable(model_inputs(model)), methods)
        save_model(typed_int8(model, calibrator, feeds, settings), request.out)

    def settings(self, model: ir.Model, feed: Feed, configuration: str) -> QuantizeSettings:
        """``feed`` tells the shapes that MACs are counted at."""
        from graphs.reading.macs import count_macs
        from optimizer.quantization.codes.scheme import TENSORRT, for_this_cpu
        from optimizer.quantization.settings import QuantizeSettings

        costs = count_macs(model, {name: array.shape for name, array in feed.items()})
        scheme = for_this_cpu() if configuration == "cpu" else TENSORRT
        settings = QuantizeSettings(scheme=scheme, costs={name: cost.macs for name, cost in costs.items() if cost.macs})
        if configuration == "entropy-only":
            return replace(settings, corrections=frozenset())
        return settings


def typed_int8(model: ir.Model, calibrator: Calibrator, feeds: Sequence[Feed], settings: QuantizeSettings) -> ir.Model:
    """The float graph ``model`` in INT8 as ``optimize`` types it, by the scheme of ``settings``."""
    from optimizer.settings.options import Precision
    from optimizer.stages.data.inputs import model_inputs
    from optimizer.typed.graph import type_graph

    group = batchable(model_inputs(model))
    samples = (lambda size: joined(feeds, size)) if group else (lambda _: iter(feeds))
    return type_graph(model, Precision.INT8, samples, settings, calibrator).model


def _samples(model: ir.Model, feeds: Sequence[Feed]) -> list[Feed]:
    """One feed per sample; all of them, as every tool gets."""
    from calibration.collect import rows_of
    from optimizer.stages.data.inputs import model_inputs

    return list(rows_of(feeds, batchable(model_inputs(model))))


TOOL = Enginewright()
