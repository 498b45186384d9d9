"""A prepared float graph in a folder: what another budget, target or output folder need not find out again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from calibration.table import CalibrationTable
from engines.engine import Feed
from graphs.files import read_record, write_record
from graphs.reading.number_types import Codes
from graphs.storage.saving import save_model
from optimizer.quantization.choices import Rewrites
from optimizer.quantization.choosing.candidates import Candidate
from optimizer.quantization.codes.weights import QuantizedWeight, WeightScales
from optimizer.quantization.corrections.rounding import Rounding
from optimizer.quantization.corrections.sensitivity import Sensitivity
from optimizer.quantization.judging.judge import Judge
from optimizer.quantization.placement.insertion_points import Placement
from optimizer.quantization.prepared import Prepared
from optimizer.quantization.settings import QuantizeSettings, placed

_MODEL, _RECORD, _WEIGHTS = "float.onnx", "prepared.json", "weights.npz"


@dataclass(frozen=True)
class _Rounded:
    node: str
    tensor: str
    gain_db: float
    biased: bool


@dataclass(frozen=True)
class _Record:
    settings: QuantizeSettings
    notes: list[str]
    found: list[Sensitivity]
    table: CalibrationTable | None
    noise: float | None
    rounded: list[_Rounded]
    solved: bool = False
    rewrites: Rewrites = field(default_factory=Rewrites)
    again: str = ""
    calibrated_noise: float | None = None


def save_prepared(prepared: Prepared, folder: Path) -> None:
    """Write all of it but its samples, which its reader has. Its settings are not those it was asked with: preparing
    may decide on results that stay in float.
    """
    save_model(prepared.model, folder / _MODEL)
    chosen = prepared.chosen
    roundings = chosen.roundings if chosen is not None else []
    rounded = [_Rounded(r.node, r.tensor, r.gain_db, r.weight.bias is not None) for r in roundings]
    record = _Record(
        prepared.settings,
        list(prepared.notes),
        list(prepared.found),
        chosen.table if chosen is not None else None,
        chosen.noise if chosen is not None else None,
        rounded,
        chosen is not None and chosen.solved,
        prepared.rewrites,
        prepared.again,
        prepared.calibrated_noise,
    )
    write_record(folder / _RECORD, record)
    arrays: dict[str, NDArray[Any]] = {}
    for number, rounding in enumerate(roundings):
        weight = rounding.weight
        arrays |= {f"{number}.codes": _plain(weight.codes), f"{number}.scale": weight.scale}
        if weight.bias is not None:
            arrays[f"{number}.bias"] = weight.bias
    np.savez(folder / _WEIGHTS, allow_pickle=False, **arrays)


def load_prepared(folder: Path, judged: Sequence[Feed]) -> Prepared:
    """What ``save_prepared`` wrote; ``judged`` are the samples that variants are judged on."""
    model, record = ir.load(folder / _MODEL), read_record(folder / _RECORD, _Record)
    settings, notes = record.settings, tuple(record.notes)
    if record.table is None:
        return Prepared(model, settings, notes=notes)
    placement = placed(model, settings, record.table)
    chosen = Candidate(
        table=record.table,
        placement=placement,
        scales=WeightScales(),
        roundings=_roundings(folder / _WEIGHTS, record.rounded, placement),
        noise=record.noise,
        solved=record.solved,
    )
    found = tuple(record.found)
    return Prepared(
        model,
        settings,
        chosen,
        found,
        notes,
        judged,
        Judge(model, on_cpu=settings.scheme.integer_results),
        rewrites=record.rewrites,
        again=record.again,
        calibrated_noise=record.calibrated_noise,
    )


def _plain(codes: Codes) -> NDArray[Any]:
    """Codes as an array that numpy's files hold: it knows none of 4 bits and no small floats."""
    return codes if codes.dtype == np.int8 else codes.view(np.uint8)


def _roundings(path: Path, rounded: Sequence[_Rounded], placement: Placement) -> list[Rounding]:
    kinds = {weight.tensor: weight.codes.numbers.numpy for weight in placement.weights}
    with np.load(path, allow_pickle=False) as arrays:
        return [
            Rounding(
                item.node,
                item.tensor,
                QuantizedWeight(
                    arrays[f"{number}.codes"].view(kinds.get(item.tensor, np.dtype(np.int8))),
                    arrays[f"{number}.scale"],
                    arrays[f"{number}.bias"] if item.biased else None,
                ),
                item.gain_db,
            )
            for number, item in enumerate(rounded)
        ]
