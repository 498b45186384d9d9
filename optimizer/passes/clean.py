"""The cleaning sequence every imported model goes through before it is calibrated."""

from __future__ import annotations

import onnx_ir as ir

from optimizer.importing.names import name_nodes
from optimizer.passes.base import GraphPass, PassResult
from optimizer.passes.fold_affine import FoldAffine
from optimizer.passes.fold_batch_norm import FoldBatchNorm
from optimizer.passes.fold_constants import FoldConstants
from optimizer.passes.fold_padding import FoldPadding
from optimizer.passes.infer_shapes import InferShapes
from optimizer.passes.simplify import RemoveDropout, RemoveIdentity, RemoveRedundant
from optimizer.passes.unroll_step import UnrollSingleStep


def cleaning_passes() -> tuple[GraphPass, ...]:
    """In order: constants first, since every fold into weights needs its operands constant."""
    return (
        RemoveDropout(),
        FoldConstants(),
        RemoveIdentity(),
        RemoveRedundant(),
        FoldPadding(),
        FoldBatchNorm(),
        FoldAffine(),
        FoldConstants(),
        RemoveIdentity(),
        UnrollSingleStep(),
        RemoveRedundant(),
        InferShapes(),
    )


def clean(model: ir.Model) -> list[PassResult]:
    """Clean ``model`` in place: same inputs, outputs and results up to float rounding, fewer nodes.

    Nodes that survive keep their names; new ones get stable names. Returns one result per pass.
    """
    results = [step.apply(model) for step in cleaning_passes()]
    name_nodes(model)
    return results
