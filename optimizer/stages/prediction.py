"""What the GPUs that are not here should reach: a roofline model of the typed graph, labelled as a prediction."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx_ir as ir

from benchmarks.roofline.fusion import kernels
from benchmarks.roofline.gpus import rates_for
from benchmarks.roofline.predict import OFFLINE_BATCH
from benchmarks.roofline.prediction import Prediction, predict
from engines.engine import TensorSpec, joinable
from engines.profile import Shape
from engines.target import Target


def predict_targets(
    typed: Path, specs: Sequence[TensorSpec], sample_shapes: dict[str, Shape], targets: Sequence[Target]
) -> dict[str, Prediction]:
    """A prediction per GPU target whose peak rates are known, from the graph its engine is built from."""
    boards = {target.name: rates for target in targets if (rates := rates_for(target)) is not None}
    if not boards:
        return {}
    found = kernels(ir.load(typed), sample_shapes)
    batch = OFFLINE_BATCH if joinable(specs) else 1
    return {name: predict(found, rates, batch) for name, rates in boards.items()}
