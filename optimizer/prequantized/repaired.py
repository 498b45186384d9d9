"""From a quantized source, spelt alike, to the forms that TensorRT and ONNX Runtime fuse, each repair verified."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import onnx_ir as ir

from graphs.writing.edits import drop_unused_initializers
from optimizer.attempt import attempt
from optimizer.passes.clean import clean
from optimizer.passes.number_types.signed_codes import SignedCodes
from optimizer.prequantized.onnxruntime.results import quantized_before_pools, quantized_sums
from optimizer.prequantized.onnxruntime.signed_weights import signed_weights
from optimizer.prequantized.onnxruntime.unsigned import unsigned_codes
from optimizer.prequantized.repair_check import RepairCheck
from optimizer.prequantized.tensorrt.borders import numbers_at_borders
from optimizer.prequantized.tensorrt.half_quantized import float_constants, float_weights
from optimizer.prequantized.tensorrt.residual import quantized_skips
from optimizer.prequantized.tensorrt.unfused import without_unfused
from optimizer.prequantized.tensorrt.zero_points import (
    symmetric_activations,
    symmetric_weights,
    without_zero_points,
)

Repair: TypeAlias = "Callable[[ir.Model], list[str]]"
"""Changes a model in place; returns notes, none where there was nothing to do."""
Repairs: TypeAlias = "tuple[tuple[str, Repair], ...]"
"""In order, each with what it is about."""


@dataclass(frozen=True)
class Repaired:
    """``model`` in a runtime's form; ``notes`` say what was done, and what a repair left undone."""

    model: ir.Model
    notes: tuple[str, ...]


def _signed(model: ir.Model) -> list[str]:
    return list(SignedCodes().apply(model).notes)


TENSORRT: Repairs = (
    ("codes at the model's borders", numbers_at_borders),
    ("uint8 codes around 128", _signed),
    ("constants of float operators", float_constants),
    ("zero points of weights", symmetric_weights),
    ("pairs that no kernel fuses", without_unfused),
    ("weights beside float data", float_weights),
    ("zero points of activations", symmetric_activations),
    ("skip branches of residual sums", quantized_skips),
)
"""In order: what is taken away needs no other repair."""
FLOAT_WHERE_ASYMMETRIC: Repairs = (
    *TENSORRT[:4],
    ("activations with zero points", without_zero_points),
    *(step for step in TENSORRT[4:] if step[1] is not symmetric_activations),
)
"""The same where ranges around zero cost too much: what has another zero point stays float."""
ONNXRUNTIME: Repairs = (
    ("signed weights", signed_weights),
    ("Q before pools", quantized_before_pools),
    ("residual sums of codes", quantized_sums),
    ("unsigned codes", unsigned_codes),
)
EXACT_ONNXRUNTIME: Repairs = tuple(step for step in ONNXRUNTIME if step[1] is not quantized_sums)
"""The same without the one that rounds what the source does not."""


def repairs_told(model: ir.Model) -> list[str]:
    """What would be done for TensorRT to a copy of an imported ``model``: by structure, nothing is run or verified."""
    copy = model.clone()
    clean(copy)
    return [note for what, repair in TENSORRT for note in attempt(what, partial(repair, copy), list[str]())[0]]


def repaired(model: ir.Model, repairs: Repairs, check: RepairCheck) -> Repaired:
    """A copy of ``model`` with ``repairs``. One that moves the answers further than ``check`` allows is left out, with
    a note; so is one that fails.
    """
    notes: list[str] = []
    for what, repair in repairs:
        changed = model.clone()
        made, failed = attempt(what, partial(repair, changed), list[str]())
        notes += failed
        if failed or not made:
            continue
        drop_unused_initializers(changed)
        why = check.refuses(changed)
        if why:
            notes.append(f"undone: {what}: {why}")
        else:
            model, notes = changed, [*notes, *made]
    return Repaired(model, tuple(notes))
