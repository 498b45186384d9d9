"""Does the lowered graph mean what the typed one means? Both are run in FP32, where nothing but rounding may differ."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from benchmarks.accuracy.compare import OutputNoise
from engines.engine import Array, Feed
from engines.errors import BuildError, BuildFailure, EngineError
from engines.onnxruntime.graph import simulated_outputs
from graphs.cutting.bisection import Bisection
from graphs.cutting.taps import cut_at
from graphs.errors import in_a_line
from optimizer.equivalence import NEAR_DB, Equivalence, compare_graphs
from optimizer.tensorrt8.lowering import Lowered
from optimizer.tensorrt8.unquantized import other_scale, unquantized
from optimizer.tensorrt8.widening import widen

STAGE = "lower"
"""What writing the graph for TensorRT 8 is called in events and errors."""
_FLOAT = ir.DataType.FLOAT


def same_meaning(typed: ir.Model, lowered: Lowered, feeds: Sequence[Feed]) -> Equivalence:
    """Compare the typed graph, its half precision taken for FP32, with the lowered one on ``feeds``: their scales, and
    what they compute without Q/DQ (with them, where something computes with codes).

    Rounding that an unstable net amplifies is the same meaning: ``near`` is what to ask for. Raises ``EngineError``
    where the typed graph does not run.
    """
    if differs := other_scale(typed, lowered.model):
        return Equivalence(False, why=f"the scale of {differs!r} is another", near=False)
    return compare_graphs(*_comparable(typed, lowered), feeds, fuse_qdq=False)


def first_difference(typed: ir.Model, lowered: Lowered, feed: Feed) -> str:
    """The first node whose result differs in more than rounding; empty where none in the main graph does."""
    wide, other = _comparable(typed, lowered)
    near = NEAR_DB["float32"]
    kept = {str(value.name) for node in other.graph for value in node.outputs if value.dtype == _FLOAT}

    def beside(names: Sequence[str]) -> dict[str, float]:
        asked = [name for name in names if name in kept]
        if not asked:
            return {}
        wanted, found = (simulated_outputs(cut_at(model, asked), [feed])[0] for model in (wide, other))
        return {name: _sqnr_db(wanted[name], found[name]) for name in asked}

    outputs = beside([str(value.name) for value in wide.graph.outputs])
    worst = min(outputs, key=lambda name: outputs[name], default="")
    if not worst or outputs[worst] >= near:
        return ""
    first = Bisection(wide, beside).first_bad(worst, outputs[worst], near)
    return first.node if first is not None else ""


def _sqnr_db(wanted: Array, found: Array) -> float:
    noise = OutputNoise()
    noise.add(np.asarray(wanted), np.asarray(found), 0)
    return noise.result().sqnr_db


def _comparable(typed: ir.Model, lowered: Lowered) -> tuple[ir.Model, ir.Model]:
    """Both in FP32, and without Q/DQ where they can be had so."""
    wide = typed.clone()
    widen(wide)
    without = [unquantized(model) for model in (wide, lowered.model)]
    if without[0] is None or without[1] is None:
        return wide, lowered.model
    return without[0], without[1]


def check_meaning(typed: ir.Model, lowered: Lowered, feeds: Sequence[Feed]) -> None:
    """Raise ``BuildError`` where the lowered graph computes something else, naming the first node that does."""
    try:
        found = same_meaning(typed, lowered, feeds)
    except EngineError as error:
        raise not_the_same(f"the typed graph does not run in FP32: {in_a_line(error)}") from error
    if not found.near:
        raise not_the_same(found.why, where=_where(typed, lowered, feeds))


def _where(typed: ir.Model, lowered: Lowered, feeds: Sequence[Feed]) -> str:
    try:
        return next((where for feed in feeds if (where := first_difference(typed, lowered, feed))), "")
    except EngineError:  # no place is known then; what differs is told all the same
        return ""


def not_the_same(why: str, release: str = "8", *, where: str = "") -> BuildError:
    """The error of a graph that was written for a ``release`` and computes something else than the typed one."""
    return BuildError(
        BuildFailure.OTHER,
        f"stage {STAGE!r}: the graph written for TensorRT {release} does not compute what model.onnx does: {why}",
        where=where,
        fix="build with a later release of TensorRT",
    )
