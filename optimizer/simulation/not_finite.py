"""Where a simulated graph first holds NaN or infinity that the float graph does not."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

import numpy as np
import onnx_ir as ir

from engines.engine import Feed
from optimizer.simulation.float_twin import HALF_TYPES, float_twin
from optimizer.simulation.readings import ScalarTaps, opened

_FLOATS = (ir.DataType.FLOAT, *HALF_TYPES)


def first_not_finite(model: ir.Model, typed: ir.Model, feeds: Sequence[Feed]) -> list[str]:
    """Names of the nodes of ``model`` whose results in ``typed`` are the first to overflow or become NaN.

    A value that overflows in a Cast of ``typed`` is laid to the nodes that read it.
    """
    if not _any(_twin(typed), feeds):
        return []
    twin = _twin(typed)
    expected, found = _counts(model.clone(), feeds), _counts(twin, feeds)
    bad = {name for name, count in found.items() if count > expected.get(name.removesuffix("_fp16"), 0.0)}
    nodes = {node.name for node in model.graph}
    first: dict[str, None] = {}
    for node in typed.graph:
        made = any(value.name in bad for value in node.outputs)
        if not made or any(value is not None and value.name in bad for value in node.inputs):
            continue
        at_fault = [node] if node.name in nodes else [user for value in node.outputs for user, _ in value.uses()]
        first |= dict.fromkeys(str(other.name) for other in at_fault if other.name in nodes)
    return list(first)


def _any(model: ir.Model, feeds: Sequence[Feed]) -> bool:
    """Whether a value of a float tensor of the main graph may be other than finite: their sum is not (which it also is
    not where it overflows itself). What a dequantizer gives is finite. To count them takes several times as long.
    """
    taps = ScalarTaps(model)
    dequantized = {v.name for node in model.graph if node.op_type == "DequantizeLinear" for v in node.outputs}
    looked_at = [(name, wide) for name, wide in _wide(taps) if name not in dequantized]
    for name, wide in looked_at:
        taps.keep(("sum", name), taps.reduced("ReduceSum", wide))
    if not looked_at:
        return False
    with opened(taps) as readings:
        return not all(isfinite(total) for feed in feeds for total in readings.of(feed).values())


def _twin(typed: ir.Model) -> ir.Model:
    twin = typed.clone()
    float_twin(twin)
    return twin


def _wide(taps: ScalarTaps) -> list[tuple[str, ir.Value]]:
    """Every float tensor of the main graph, in float32, and its name."""
    values = [v for node in taps.model.graph for v in node.outputs if v.name and v.dtype in _FLOATS]
    float32 = ir.DataType.FLOAT
    return [(str(v.name), v if v.dtype == float32 else taps.do("Cast", v, to=float32.value)) for v in values]


def _counts(model: ir.Model, feeds: Sequence[Feed]) -> dict[str, float]:
    """How many values of each float tensor of the main graph are not finite, over all feeds."""
    taps = ScalarTaps(model)
    for name, wide in _wide(taps):
        finite = taps.test("Less", taps.do("Abs", wide), np.inf)
        wrong = taps.do("Cast", taps.do("Not", finite, dtype=ir.DataType.BOOL), to=ir.DataType.FLOAT.value)
        taps.keep(("count", name), taps.do("ReduceSum", wrong, keepdims=0))
    total: dict[str, float] = {}
    with opened(taps) as readings:
        for feed in feeds:
            for (_, name), count in readings.of(feed).items():
                total[name] = total.get(name, 0.0) + count
    return total
