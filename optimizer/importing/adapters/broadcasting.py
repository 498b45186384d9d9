"""Broadcasting before opset 7: only where asked for, and along an axis that was told.

Source: ONNX, docs/Broadcasting.md as of opset 1 and 7, and the operator changelog.
"""

from __future__ import annotations

import numpy as np

from optimizer.importing.adapters.site import CannotConvert, Site


def align_second_operand(site: Site) -> None:
    """The second operand's axes began at ``axis`` of the first, or ended with it; now they always end with it."""
    attributes = site.node.attributes
    trailing = 0
    if attributes.get_int("broadcast", 0) and "axis" in attributes:
        rank, own = site.rank(0, "how the operands align"), site.rank(1, "how the operands align")
        trailing = rank - attributes.get_int("axis", 0) % rank - own
    site.pop("broadcast")
    site.pop("axis")
    if trailing > 0:
        axes = site.constant("axes", [own + i for i in range(trailing)])
        site.set_input(1, site.add("Unsqueeze", [site.input(1), axes], "aligned"))


def gemm(site: Site) -> None:
    """C was broadcast where asked for, by the same rule as now."""
    site.pop("broadcast")


def prelu(site: Site) -> None:
    """A vector of slopes went along axis 1 whatever the rank; now it aligns at the end."""
    slope = site.input(1)
    if slope is None:
        raise CannotConvert("it has no slope")
    if site.rank(1, "which axis the slopes belong to") != 1:
        return
    rank = site.rank(0, "which axis the slopes belong to")
    size = slope.shape[0] if slope.shape is not None else None
    if rank > 2 and size != 1:
        axes = site.constant("axes", list(range(1, rank - 1)))
        site.set_input(1, site.add("Unsqueeze", [slope, axes], "per_channel"))


def tile_one_axis(site: Site) -> None:
    """Opset 6: Tile repeats every axis; before, one axis that an input told."""
    tiles, axis = site.constant_input(1), site.constant_input(2)
    if tiles is None or axis is None:
        raise CannotConvert("how often and which axis to repeat is no constant")
    repeats = np.ones(site.rank(0, "how often each axis repeats"), np.int64)
    repeats[int(np.asarray(axis).reshape(-1)[0])] = int(np.asarray(tiles).reshape(-1)[0])
    site.become("Tile", [site.data(), site.constant("repeats", repeats)])
