"""From a typed graph to the form that the parsers of TensorRT 10.0 to 10.8 read right.

Those are strongly typed as their successors, and take the typed graph as it is, but for a few operators that opset 18
to 21 gave another form. Facts: onnx/onnx-tensorrt, ``docs/Changelog.md`` (axes of a Pad from 10.4, GroupNormalization
of opset 21 from 10.9, an Einsum's ellipsis from 10.12) and ``onnxOpImporters.cpp`` of 10.6 (a GridSample of a mode that
it does not know takes the nearest value, without a word; a ScatterND may state no reduction, not even none).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from engines.errors import BuildError, BuildFailure
from graphs.reading.operators import is_standard
from graphs.reading.shapes import infer_shapes
from optimizer.tensorrt8.rewriting import Rule, Spot, rewrite
from optimizer.tensorrt8.rules import equations, moved, normalizing, shaping


def group_norm(spot: Spot) -> bool:
    """Scale and bias per channel behind a normalization without: 10.8 has them per group."""
    data, groups = spot.data(), spot.node.attributes.get_int("num_groups", 0)
    if data.shape is None or data.dtype is None or not groups:
        return False
    one, none = (spot.array(name, np.full(groups, number, data.dtype.numpy())) for name, number in _SCALED)
    grouped = spot.do("Reshape", data, spot.integers([0, groups, -1]))
    epsilon = spot.node.attributes.get_float("epsilon", 1e-5)
    normal = spot.do("InstanceNormalization", grouped, one, none, epsilon=epsilon)
    normal = spot.do("Reshape", normal, spot.shape_of(data))
    return normalizing.per_channel(spot, normal, len(data.shape))


_SCALED = (("ones", 1), ("zeros", 0))


def default_mode(spot: Spot) -> bool:
    """A linear GridSample without its mode, which is the default by that name and by the older one."""
    if spot.node.attributes.get_string("mode", "") != "linear":
        return False
    spot.pop("mode")
    return True


RULES: Mapping[str, Sequence[Rule]] = {
    "Pad": (shaping.pad_all_axes,),
    "GroupNormalization": (group_norm,),
    "GridSample": (default_mode,),
    "ScatterND": (moved.no_reduction,),
    "Einsum": (equations.letters_for_the_ellipsis,),
}


def for_older_parsers(model: ir.Model) -> tuple[ir.Model, list[str]]:
    """A copy of ``model`` (weights shared) in that form, and a note per operator that was written otherwise.

    Raises ``BuildError`` naming a node that would be read as something else: a cubic GridSample.
    """
    copy = model.clone()
    infer_shapes(copy)
    for node in copy.graph.all_nodes():
        if is_standard(node) and node.op_type == "GridSample" and node.attributes.get_string("mode", "") == "cubic":
            raise BuildError(
                BuildFailure.UNSUPPORTED_OP,
                "TensorRT before 10.9 reads a cubic GridSample as one that takes the nearest value",
                where=str(node.name),
                fix="build with TensorRT 10.9 or later",
            )
    changed = rewrite(copy, RULES).changed
    infer_shapes(copy)
    return copy, [f"{count} {op} written as parsers before 10.9 read it" for op, count in sorted(changed.items())]
