"""``optimize inspect --target``: what bounds each layer on a GPU, and what the whole model should reach there."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import onnx_ir as ir

from benchmarks.report import formats
from benchmarks.roofline.fusion import kernels
from benchmarks.roofline.kernels import Kernel
from benchmarks.roofline.predict import LayerTime, layer_times
from benchmarks.roofline.prediction import Prediction, calibration, predict
from engines.profile import Shape
from engines.targets.boards import GpuRates
from graphs.reading.macs import count_macs
from optimizer.passes.clean import clean
from optimizer.settings.options import Precision
from optimizer.typed.graph import type_by_structure

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True)
class LayerBound:
    """One kernel, predicted: ``microseconds`` for ``batch`` samples, ``share`` (0 to 1) of the model's time.

    ``bytes`` are those moved per batch, ``bound`` is compute, memory or overhead, ``dtype`` empty where nothing is
    multiplied; ``nodes`` are the ONNX nodes fused into it.
    """

    name: str
    kind: str
    dtype: str
    flops: int
    bytes: int
    microseconds: float
    share: float
    bound: str
    nodes: list[str]


@dataclass(frozen=True)
class TargetBounds:
    """All layers in the order they run, in ``precision`` ("as typed" for the graph as it is), at ``batch`` samples."""

    target: str
    precision: str
    batch: int
    prediction: Prediction
    layers: list[LayerBound]


def as_typed(model: ir.Model, shapes: dict[str, Shape], precision: Precision) -> ir.Model:
    """A copy typed as the main job would in ``precision``, with made-up ranges: right types, wrong numbers."""
    copy = model.clone()
    clean(copy)
    costs = {name: cost.macs for name, cost in count_macs(copy, shapes).items() if cost.macs}
    return type_by_structure(copy, precision, costs)


def kernels_of(model: ir.Model, shapes: dict[str, Shape], precision: Precision | None) -> list[Kernel]:
    """The kernels of one sample; as the graph is typed where ``precision`` is None."""
    return kernels(model if precision is None else as_typed(model, shapes, precision), shapes)


def bounds(
    found: Sequence[Kernel],
    name: str,
    gpu: GpuRates,
    precision: Precision | None,
    batch: int,
    sparse: Collection[str] = (),
) -> TargetBounds:
    """What bounds every kernel at ``batch`` samples, and the prediction for the whole model; ``sparse`` names products
    whose weights are 2:4 or could be.
    """
    times = layer_times(found, gpu, calibration().factors, batch)
    total = sum(time.microseconds for time in times) or 1.0
    return TargetBounds(
        target=name,
        precision="as typed" if precision is None else precision.value,
        batch=batch,
        prediction=predict(found, gpu, batch, sparse),
        layers=[_layer(time, total, batch) for time in times],
    )


def _layer(time: LayerTime, total: float, batch: int) -> LayerBound:
    kernel = time.kernel
    return LayerBound(
        name=kernel.name,
        kind=kernel.kind,
        dtype=kernel.dtype,
        flops=2 * kernel.macs * batch,
        bytes=kernel.weight_bytes + batch * kernel.activation_bytes,
        microseconds=round(time.microseconds, 3),
        share=time.microseconds / total,
        bound=time.bound,
        nodes=list(kernel.nodes),
    )


def render_bounds(found: TargetBounds, console: Console, top: int = 10) -> None:
    """Print the whole-model prediction and the ``top`` layers by time."""
    from rich.table import Table
    from rich.text import Text

    p = found.prediction
    said = f"  {p.gpu}, {found.precision}: PREDICTED, not measured"
    console.print(Text.assemble("\n", (found.target, "bold"), said))
    latency, rate = formats.milliseconds(p.latency_ms), formats.rate(p.throughput)
    console.print(f"latency {latency} ± {p.latency_error_percent:.0f} % at batch 1", highlight=False)
    console.print(f"throughput {rate} ± {p.error_percent:.0f} % at batch {p.batch}, {p.bound} bound", highlight=False)
    table = Table("layer", "kind", "type", box=None, pad_edge=False)
    for title in ("FLOPs", "moved", "time", "share"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("bound", no_wrap=True)
    for layer in sorted(found.layers, key=lambda layer: -layer.microseconds)[:top]:
        table.add_row(
            layer.name,
            layer.kind,
            layer.dtype or "-",
            formats.count(layer.flops),
            formats.size(layer.bytes),
            formats.milliseconds(layer.microseconds / 1e3),
            f"{layer.share:.1%}",
            layer.bound,
        )
    console.print(table)
    console.print(_summary(found.layers), highlight=False)
    console.print(p.how, highlight=False, markup=False)


def _summary(layers: Sequence[LayerBound]) -> str:
    shares: dict[str, float] = {}
    for layer in layers:
        shares[layer.bound] = shares.get(layer.bound, 0.0) + layer.share
    parts = ", ".join(f"{share:.0%} {bound}" for bound, share in sorted(shares.items(), key=lambda item: -item[1]))
    return f"{len(layers)} kernels; time by bound: {parts}"
