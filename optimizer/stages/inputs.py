"""Opening the data: calibration samples, held-back samples, and what stands in for them when there are none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from calibration.source import SampleSource, split
from calibration.sources.batch_norms import match_batch_norms
from calibration.sources.open import OpenedSource, open_source
from calibration.sources.synthetic import SyntheticSource
from engines.engine import TensorSpec
from engines.profile import ShapeRange
from optimizer.settings import Settings

HELD_BACK = 64
EVALUATED = 2048
SYNTHETIC_SAMPLES = 96


@dataclass(frozen=True)
class Inputs:
    """Disjoint calibration and held-back samples; ``calibrated`` is False where no real data stands behind them."""

    calibration: SampleSource
    held_back: SampleSource
    calibrated: bool
    digest: str
    notes: tuple[str, ...] = ()


def model_inputs(model: ir.Model) -> tuple[TensorSpec, ...]:
    """The graph's inputs as tensor specs; unnamed dynamic dimensions are ``"?"``."""
    return tuple(_spec(value) for value in model.graph.inputs)


def _spec(value: ir.Value) -> TensorSpec:
    assert value.shape is not None and value.dtype is not None and value.name is not None  # import has checked
    dims = tuple(d if isinstance(d, int) else (d.value or "?") for d in value.shape)
    return TensorSpec(value.name, value.dtype.numpy().name, dims)


def open_inputs(
    settings: Settings, model: ir.Model, specs: Sequence[TensorSpec], shapes: dict[str, ShapeRange]
) -> Inputs:
    """Open ``--data`` and ``--eval-data``. Raises ``BadInput`` naming file and input for data that does not fit."""
    wanted = settings.samples if settings.eval_data else settings.samples + HELD_BACK
    data = settings.data or "random"
    source: OpenedSource = open_source(
        data,
        specs,
        samples=min(wanted, SYNTHETIC_SAMPLES) if data == "random" else wanted,
        seed=settings.seed,
        shapes={name: given.opt for name, given in shapes.items()},
        integer_bounds=integer_bounds(model),
    )
    if isinstance(source, SyntheticSource):
        source = match_batch_norms(model, source)
    if settings.eval_data is None:
        calibration, held_back = split(source, settings.samples, HELD_BACK, settings.seed)
        return Inputs(calibration, held_back, not source.synthetic, source.digest, source.notes)
    held = open_source(settings.eval_data, specs, samples=EVALUATED, seed=settings.seed)
    notes = (*source.notes, *(note for note in held.notes if note not in source.notes))
    return Inputs(source, held, not source.synthetic, f"{source.digest}+{held.digest}", notes)


def integer_bounds(model: ir.Model) -> dict[str, int]:
    """For every integer input that indexes a constant table (an embedding): one more than its largest legal value."""
    bounds: dict[str, int] = {}
    for value in model.graph.inputs:
        for table_rows in _tables_indexed_by(value):
            bounds[str(value.name)] = min(bounds.get(str(value.name), table_rows), table_rows)
    return bounds


_INDEX_PRESERVING = {"Cast", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Gather", "Slice", "Split", "Identity"}


def _tables_indexed_by(value: ir.Value) -> list[int]:
    found, pending, seen = [], [value], set()
    while pending:
        current = pending.pop()
        if current in seen:
            continue
        seen.add(current)
        for node, index in current.uses():
            table = node.inputs[0].const_value if node.op_type == "Gather" and index == 1 and node.inputs[0] else None
            if table is not None:
                axis = node.attributes.get_int("axis", 0)
                found.append(int(table.shape.numpy()[axis]))
            elif node.op_type in _INDEX_PRESERVING and index == 0:
                pending.extend(node.outputs)
    return found
