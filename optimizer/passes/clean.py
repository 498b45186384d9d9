"""The cleaning sequence every imported model goes through before it is calibrated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import onnx_ir as ir

from graphs.writing.node_names import name_nodes
from optimizer.attempt import attempt, attempt_on
from optimizer.equivalence import Equivalence
from optimizer.passes.base import GraphPass, PassResult
from optimizer.passes.dialects.dynamic_operators import FloatProducts
from optimizer.passes.dialects.hard_swish import NameHardSwish
from optimizer.passes.dialects.integer_operators import SpellOutIntegers
from optimizer.passes.dialects.runtime_operators import SpellOutRuntimeOperators
from optimizer.passes.dialects.spelling import SpellOutCodes
from optimizer.passes.folding.activation_first import ActivationFirst
from optimizer.passes.folding.affine import FoldAffine
from optimizer.passes.folding.batch_norm import FoldBatchNorm
from optimizer.passes.folding.constants import FoldConstants
from optimizer.passes.folding.padding import FoldPadding
from optimizer.passes.folding.redundant import RemoveDropout, RemoveIdentity, RemoveRedundant
from optimizer.passes.infer_shapes import InferShapes
from optimizer.passes.runtime_types import RuntimeTypes
from optimizer.passes.spelling_out.einsum_products import EinsumProducts
from optimizer.passes.spelling_out.operators import SpellOut
from optimizer.passes.spelling_out.unroll_step import UnrollSingleStep
from optimizer.passes.tensorrt.loop_conditions import StateLoopConditions
from optimizer.passes.tensorrt.moved_bytes import MoveBytesAsFloats
from optimizer.passes.tensorrt.outer_products import MultiplyOuterProducts
from optimizer.passes.tensorrt.slice_axes import StateSliceAxes

Check: TypeAlias = Callable[[ir.Model], Equivalence]
"""Compares a graph with the one that was given to ``clean``."""


def cleaning_passes() -> tuple[GraphPass, ...]:
    """In order: what TensorRT lacks spelt out, then constants: every fold into weights needs its operands constant."""
    return (
        RemoveDropout(),
        SpellOutRuntimeOperators(),
        SpellOut(),
        StateLoopConditions(),
        StateSliceAxes(),
        FloatProducts(),
        SpellOutIntegers(),
        FoldConstants(),
        EinsumProducts(),
        MultiplyOuterProducts(),
        RemoveIdentity(),
        RemoveRedundant(),
        NameHardSwish(),
        SpellOutCodes(),
        FoldPadding(),
        FoldBatchNorm(),
        FoldAffine(),
        FoldConstants(),
        RemoveIdentity(),
        UnrollSingleStep(),
        MoveBytesAsFloats(),
        RemoveRedundant(),
        InferShapes(),
        ActivationFirst(),
        RuntimeTypes(),
    )


def clean(model: ir.Model) -> list[PassResult]:
    """Clean ``model`` in place: same inputs, outputs and results up to float rounding, fewer nodes.

    Nodes that survive keep their names; new ones get stable names. Returns one result per pass.
    """
    results = [step.apply(model) for step in cleaning_passes()]
    name_nodes(model)
    return results


@dataclass(frozen=True)
class CleanModel:
    """``notes`` say what was done, ``faults`` (among them) which passes were left out or undone."""

    model: ir.Model
    notes: list[str]
    faults: list[str]


def clean_and_check(model: ir.Model, check: Check) -> CleanModel:
    """A cleaned copy of ``model`` (weights are shared) that computes the same.

    All passes are made and verified together; only where that fails, or the result is clearly not the same, each is
    made and verified by itself, and left out or undone with a note where it is at fault.
    """
    copy = model.clone()
    results, failed = attempt("cleaning in one go", lambda: clean(copy), None)
    if results is not None and check(copy).near:
        return CleanModel(copy, [note for result in results for note in result.notes], [])
    notes, faults = list(failed), list(failed)
    for step in cleaning_passes():
        changed, result, failed = attempt_on(f"cleaning, {step.name}", model, step.apply, PassResult(0))
        found = check(changed) if result.modified else None
        if found is None or found.near:
            model, notes = changed, [*notes, *failed, *result.notes]
            faults += failed
        else:
            undone = f"undone: cleaning, {step.name}: not exact on this graph ({found.why})"
            notes, faults = [*notes, undone], [*faults, undone]
    name_nodes(model)
    return CleanModel(model, notes, faults)
