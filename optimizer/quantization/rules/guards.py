"""Guards that need ranges: where a rule's usual answer would break this particular model."""

from __future__ import annotations

import math

import onnx_ir as ir

from calibration.table import CalibrationTable
from graphs.reading.constants import constant_tensor
from optimizer.quantization.rules.catalogue import Rule
from optimizer.quantization.rules.commuting import concat_branches, origin

UNLIKE_RANGES = 6.0
"""Branches of a Concat whose amax differ by more lose over 2.5 of their 8 bits to a shared scale. Chosen."""
HUGE_FILL = 4.0
"""A Pad value this many times the data's own range is a sentinel (-inf, -1e4), not data. Chosen."""


def guard_tensors(value: ir.Value) -> list[ir.Value]:
    """The further tensors whose ranges decide about ``value``: Concat branches and the input of a Pad."""
    tensors = concat_branches(value)
    padded = _padded(value)
    return [*tensors, padded] if padded is not None else tensors


def refuse(value: ir.Value, table: CalibrationTable) -> str:
    """The reason ``value`` must not be quantized per tensor, or an empty string."""
    assert value.name is not None
    found = table.tensors.get(value.name)
    if found is None:
        return Rule.CALIBRATED_RANGE.reason(f"no range was measured for {value.name!r}")
    if not (math.isfinite(found.amax) and math.isfinite(found.low) and math.isfinite(found.high)):
        return Rule.CALIBRATED_RANGE.reason(f"the range of {value.name!r} is not finite")
    return _unlike_branches(value, table) or _sentinel_fill(value, found.amax, table)


def unlike(amaxes: list[float]) -> bool:
    """Whether the largest range is over ``UNLIKE_RANGES`` times the smallest non-zero one."""
    live = [amax for amax in amaxes if amax > 0]
    return bool(live) and max(live) > UNLIKE_RANGES * min(live)


def _unlike_branches(value: ir.Value, table: CalibrationTable) -> str:
    branches = [branch.name for branch in concat_branches(value) if branch.name in table.tensors]
    amaxes = [table.tensors[name].amax for name in branches if name is not None]
    if not unlike(amaxes):
        return ""
    spread = ", ".join(f"±{amax:.3g}" for amax in amaxes)
    return Rule.CONCAT_ONE_SCALE.reason(f"the branches of the Concat before it have ranges {spread}")


def _padded(value: ir.Value) -> ir.Value | None:
    producer = origin(value).producer()
    return producer.inputs[0] if producer is not None and producer.op_type == "Pad" else None


def _sentinel_fill(value: ir.Value, amax: float, table: CalibrationTable) -> str:
    padded = _padded(value)
    producer = origin(value).producer()
    if padded is None or producer is None or padded.name not in table.tensors:
        return ""
    fill = constant_tensor(producer.inputs[2]) if len(producer.inputs) > 2 else None
    size = float(abs(fill.numpy()).max()) if fill is not None and fill.size else 0.0
    inner = table.tensors[padded.name].amax
    if size <= HUGE_FILL * inner or amax < size:
        return ""
    return Rule.CALIBRATED_RANGE.reason(f"its input is padded with {size:g}, its values stay within ±{inner:.3g}")
