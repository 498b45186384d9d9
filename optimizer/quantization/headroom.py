"""How far raw inputs may reach beyond what calibration saw of them.

Pixels and normalised audio end where every sample ends. Features of a table (counts, logarithms, ages) do not: each
new user brings a larger one, and a clipped feature is a wrong one. How an extreme grows with the number of samples is
seen in the samples themselves: if it grew by a factor from an eighth of them to all, then on a tail of any power law
eight times as many again would carry it that factor further.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
import onnx_ir as ir

from calibration.table import CalibrationTable, TensorRange
from engines.engine import Feed
from graphs.edits import values_by_name
from optimizer.quantization.rules.commuting import origin

BLOCKS = 8
SETTLED = 1.3
"""Growth below which an input counts as settled: that of a normal variable from a hundred values to ten thousand is
1.5, from ten thousand to a million 1.26, and what such tails clip is rare and small."""
MOST = 2.0
"""One bit of the input's resolution at most is spent."""


def growth(samples: Iterable[Feed], inputs: Iterable[str]) -> dict[str, float]:
    """By what factor the largest magnitude of each of ``inputs`` grew from a typical eighth of the samples to all.

    1 where it is settled, or where there are fewer than two samples for each eighth.
    """
    tops: dict[str, list[float]] = {name: [] for name in inputs}
    for feed in samples:
        for name, seen in tops.items():
            seen.append(float(np.abs(feed[name]).max()) if feed[name].size else 0.0)
    return {name: _growth(np.array(seen)) for name, seen in tops.items()}


def _growth(tops: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float:
    if len(tops) < 2 * BLOCKS:
        return 1.0
    typical = float(np.median([block.max() for block in np.array_split(tops, BLOCKS)]))
    found = min(float(tops.max()) / typical, MOST) if typical > 0 else MOST
    return found if found >= SETTLED else 1.0


def raw_inputs(model: ir.Model, tensors: Iterable[str]) -> dict[str, str]:
    """Tensor -> the float graph input whose numbers it holds, merely moved; those that hold none's are left out."""
    values = values_by_name(model.graph)
    sources = {name: origin(values[name]) for name in tensors if name in values}
    return {name: str(source.name) for name, source in sources.items() if _is_float_input(source)}


def _is_float_input(value: ir.Value) -> bool:
    return value.is_graph_input() and value.dtype in (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16)


def unclipped(table: CalibrationTable, sources: Mapping[str, str], grown: Mapping[str, float]) -> CalibrationTable:
    """``table`` with raw inputs at their observed extremes times what they are expected to grow by.

    ``sources`` names the graph input behind a tensor, ``grown`` its factor.
    """
    ranges = {name: _stretched(table.tensors[name], grown[source]) for name, source in sources.items()}
    return replace(table, tensors={**table.tensors, **ranges})


def _stretched(found: TensorRange, factor: float) -> TensorRange:
    """Both ends at the larger magnitude where it still grows: which column of a table grows next is not known."""
    top = max(abs(found.minimum), abs(found.maximum)) * factor
    if factor == 1.0:
        return replace(found, low=found.minimum, high=found.maximum, amax=top, method="minmax (graph input)")
    low, high = (-top if found.minimum < 0 else 0.0), (top if found.maximum > 0 else 0.0)
    return replace(found, low=low, high=high, amax=top, method=f"minmax (graph input) times {factor:.2f}")
