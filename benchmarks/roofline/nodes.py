"""What each node of a typed graph should take on a GPU that is not here: the roofline's kernels by their nodes."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from benchmarks.roofline.fusion import kernels
from benchmarks.roofline.predict import layer_times
from benchmarks.roofline.prediction import calibration
from engines.profile import Shape
from engines.targets.boards import GpuRates


def predicted_times(typed: ir.Model, shapes: Mapping[str, Shape], gpu: GpuRates, batch: int = 1) -> dict[str, float]:
    """Milliseconds of a batch, predicted, by the node a kernel is called after; what is fused into it counts there.

    ``shapes`` are those of the inputs for one sample.
    """
    times = layer_times(kernels(typed, dict(shapes)), gpu, calibration().factors, batch)
    found: dict[str, float] = {}
    for time in times:
        found[time.kernel.name] = found.get(time.kernel.name, 0.0) + time.microseconds / 1e3
    return found
