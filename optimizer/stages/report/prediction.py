"""What the GPUs that are not here should reach: a roofline model of the typed graph, labelled as a prediction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import onnx_ir as ir

from benchmarks.roofline.fusion import kernels
from benchmarks.roofline.predict import OFFLINE_BATCH
from benchmarks.roofline.prediction import Prediction, predict
from engines.engine import TensorSpec, batchable
from engines.profile import Shape
from engines.targets.target import Target
from graphs.reading.two_four import two_four_products
from optimizer.attempt import attempt


def predict_targets(
    typed: Path,
    specs: Sequence[TensorSpec],
    sample_shapes: dict[str, Shape],
    targets: Sequence[Target],
    warn: Callable[[str], None],
) -> dict[str, Prediction]:
    """A prediction per GPU target whose peak rates are known, from the graph its engine is built from.

    A graph that the roofline model cannot read costs the prediction and a warning, never the job.
    """
    boards = {target.name: rates for target in targets if (rates := target.rates) is not None}
    if not boards:
        return {}
    batch = OFFLINE_BATCH if batchable(specs) else 1

    def predicted() -> dict[str, Prediction]:
        model = ir.load(typed)
        found, sparse = kernels(model, sample_shapes), two_four_products(model)
        return {name: predict(found, rates, batch, sparse) for name, rates in boards.items()}

    nothing: dict[str, Prediction] = {}
    predictions, notes = attempt("prediction by the roofline model", predicted, nothing)
    for note in notes:
        warn(note)
    return predictions
