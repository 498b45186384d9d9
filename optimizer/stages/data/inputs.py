"""Opening the data: calibration samples, held-back samples, and what stands in for them when there are none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import onnx_ir as ir

from calibration.source import OpenedSource, SampleSource, split
from calibration.sources.batch_norms import match_batch_norms
from calibration.sources.kept import KeptSource
from calibration.sources.open import open_source
from calibration.sources.synthetic import SyntheticSource
from engines.engine import TensorSpec
from engines.feeds.batching import Batching
from engines.profile import ShapeRange
from graphs.errors import BadInput
from optimizer.importing import ImportedModel
from optimizer.settings.job import Settings
from optimizer.stages.data.batching import (
    found_batching,
    freeze,
    has_open_axis,
    running_as_given,
    told_batching,
    whole_samples,
)
from optimizer.stages.data.index_limits import index_limits, integer_bounds, size_inputs
from optimizer.stages.data.lengths import Shapes, shapes_that_run
from optimizer.stages.data.missing_values import takes_missing_values

HELD_BACK = 64
"""Samples of --data that are kept for the accuracy check and not calibrated on. Chosen."""
EVALUATED = 2048
"""Samples of --eval-data that accuracy is measured on at most; chosen to bound the time it takes."""
SYNTHETIC_SAMPLES = 96
"""Made-up samples that are calibrated on at most; chosen: more add little, for all are of one kind."""


@dataclass(frozen=True)
class Inputs:
    """Disjoint calibration and held-back samples; ``calibrated`` is False where no real data stands behind them."""

    calibration: SampleSource
    held_back: SampleSource
    calibrated: bool
    digest: str
    notes: tuple[str, ...] = ()
    batching: Batching = field(default_factory=Batching)

    @property
    def specs(self) -> tuple[TensorSpec, ...]:
        """The model's inputs, with what is known of their first axis."""
        return self.calibration.specs

    @property
    def not_finite(self) -> tuple[str, ...]:
        """Inputs that may hold NaN."""
        return tuple(spec.name for spec in self.specs if not spec.finite)


def model_inputs(model: ir.Model) -> tuple[TensorSpec, ...]:
    """The graph's inputs as tensor specs; unnamed dynamic dimensions are ``"?"``."""
    return tuple(_spec(value) for value in model.graph.inputs)


def model_outputs(model: ir.Model) -> tuple[TensorSpec, ...]:
    """The graph's outputs as tensor specs; one of unknown rank has no axes."""
    return tuple(
        TensorSpec(str(v.name), v.dtype.numpy().name if v.dtype else "?", _dims(v)) for v in model.graph.outputs
    )


def _spec(value: ir.Value) -> TensorSpec:
    assert value.shape is not None and value.dtype is not None and value.name is not None  # import has checked
    return TensorSpec(value.name, value.dtype.numpy().name, _dims(value), finite=not takes_missing_values(value))


def _dims(value: ir.Value) -> tuple[int | str, ...]:
    return tuple(d if isinstance(d, int) else (d.value or "?") for d in value.shape) if value.shape is not None else ()


def open_inputs(settings: Settings, imported: ImportedModel, shapes: dict[str, ShapeRange]) -> Inputs:
    """Open ``--data`` and ``--eval-data``. Raises ``BadInput`` naming file and input for data that does not fit.

    Where axis 0 turns out to be dynamic by name only, it becomes static in ``imported.model``.
    """
    if settings.searches and settings.data is None and settings.evaluate is None:
        fix = "give representative inputs with --data, or a metric with --evaluate"
        raise BadInput("an accuracy budget means nothing on made-up inputs", where="--max-drop", fix=fix)
    model = imported.model
    wanted = settings.samples if settings.eval_data else settings.samples + HELD_BACK
    data = settings.data or "random"
    opened = partial(
        open_source,
        data,
        samples=min(wanted, SYNTHETIC_SAMPLES) if data == "random" else wanted,
        seed=settings.seed,
        integer_bounds=integer_bounds(model),
        index_limits=index_limits(model),
        sizes=size_inputs(model),
    )
    batching, lengths = _probed(settings, imported, opened, {name: given.opt for name, given in shapes.items()})
    opened = partial(opened, shapes=lengths)
    freeze(model, batching)
    specs = batching.of_inputs(model_inputs(model))
    source: OpenedSource = opened(inputs=specs)
    if isinstance(source, SyntheticSource):
        source = match_batch_norms(model, source)
    calibration, held_back = split(source, settings.samples, HELD_BACK, settings.seed)
    notes = (batching.why, *source.notes) if batching.why else source.notes
    if settings.eval_data is None:
        parts = KeptSource(calibration), KeptSource(held_back)
        return Inputs(*parts, not source.synthetic, source.digest, notes, batching)
    held = open_source(
        settings.eval_data, specs, samples=EVALUATED, seed=settings.seed, index_limits=index_limits(model)
    )
    notes = (*notes, *(note for note in held.notes if note not in notes))
    parts = KeptSource(source), KeptSource(held)
    return Inputs(*parts, not source.synthetic, f"{source.digest}+{held.digest}", notes, batching)


def _probed(
    settings: Settings, imported: ImportedModel, opened: Callable[..., OpenedSource], given: Shapes
) -> tuple[Batching, Shapes]:
    """What axis 0 counts, and the shapes of made-up samples, ``given`` or found by trying: asked of the model."""
    specs, outputs = model_inputs(imported.model), model_outputs(imported.model)
    open_axis, told = has_open_axis(specs), settings.batch_axis != "auto"
    made_up = settings.data in (None, "random") and any(spec.dynamic and spec.name not in given for spec in specs)
    batching = told_batching(settings.batch_axis, specs, outputs) if open_axis and told else Batching()
    if not made_up and (told or not open_axis):
        return batching, given
    with running_as_given(imported.path, imported.model) as engine:
        whole = partial(opened, inputs=whole_samples(specs))
        if made_up and engine is not None:
            given = shapes_that_run(engine, whole_samples(specs), given, lambda shapes: whole(shapes=shapes))
        if open_axis and not told:
            batching = found_batching(engine, imported.model, whole(shapes=given), outputs)
    return batching, given
