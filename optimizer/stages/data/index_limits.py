"""Which integers an input may hold: what the graph uses them for, as far as it can be told from the graph alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from graphs.storage.mapped_weights import read_graph

_KEEPING = {"Cast", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Transpose", "Expand", "Tile"}
"""Operators that hand every element of their first input on as it is."""
_CHOOSING = {"Gather", "Slice", "Split", "GatherND", "GatherElements", "Concat"}
"""Operators that hand on some elements, or others beside them."""
_INDEX = {"Gather": 1, "GatherElements": 1, "ScatterElements": 1}
_EMBEDDINGS = {0: 2, 1: 4}
"""EmbedLayerNormalization (com.microsoft): input of ids, of segments -> input of their table."""


def index_limits(model: ir.Model) -> dict[str, int]:
    """For every integer input whose elements all index an axis of known size (an embedding): that size. An element
    that is not in ``-size .. size - 1`` makes the model fail.
    """
    return _limits(model, _KEEPING, exact=True)


def integer_bounds(model: ir.Model) -> dict[str, int]:
    """For integer inputs of which any element may become an index: one more than the largest value that is safe."""
    return _limits(model, _KEEPING | _CHOOSING, exact=False)


def _limits(model: ir.Model, followed: set[str], *, exact: bool) -> dict[str, int]:
    """``exact``: only what fails in any case counts, no branch that may not be taken, no OneHot, which takes all."""
    found: dict[str, int] = {}
    for value in (value for value in model.graph.inputs if _integer(value)):
        uses = _uses(value, followed)
        sizes = [size for node, size in uses if not exact or (node.graph is model.graph and node.op_type != "OneHot")]
        if sizes and min(sizes) > 0:
            found[str(value.name)] = min(sizes)
    return found


def _integer(value: ir.Value) -> bool:
    return value.dtype is not None and value.dtype.is_integer()


def _uses(value: ir.Value, followed: set[str]) -> Iterator[tuple[ir.Node, int]]:
    """Nodes in which elements of ``value`` are an index, and the size of what they index less what is added to them."""
    pending, seen = [(value, 0)], set[ir.Value]()
    while pending:
        current, added = pending.pop()
        if current in seen:
            continue
        seen.add(current)
        for node, index in current.uses():
            size = _indexed_size(node, index)
            if size is not None:
                yield node, size - added
            elif node.op_type in followed and (index == 0 or node.op_type == "Concat"):
                pending.extend((output, added) for output in node.outputs)
            elif (more := _constant_added(node, index)) is not None:
                pending.append((node.outputs[0], added + more))


def _indexed_size(node: ir.Node, index: int) -> int | None:
    if node.op_type == "EmbedLayerNormalization" and index in _EMBEDDINGS:
        return _size(node.inputs[_EMBEDDINGS[index]], 0)
    if node.op_type == "OneHot" and index == 0:
        depth = _integers(node.inputs[1])
        return None if depth is None else int(depth.reshape(-1)[0])
    if _INDEX.get(node.op_type) != index:
        return None
    return _size(node.inputs[0], node.attributes.get_int("axis", 0))


def _size(value: ir.Value | None, axis: int) -> int | None:
    shape = (value.const_value.shape if value.const_value is not None else value.shape) if value is not None else None
    if shape is None or not -len(shape) <= axis < len(shape):
        return None
    size = shape[axis]
    return size if isinstance(size, int) else None


def _constant_added(node: ir.Node, index: int) -> int | None:
    """The largest value that Add or Sub adds to its input ``index``, where that is a constant."""
    if node.op_type not in ("Add", "Sub") or (node.op_type == "Sub" and index == 1):
        return None
    constant = _integers(node.inputs[1 - index])
    if constant is None or not constant.size:
        return None
    return int(constant.max()) if node.op_type == "Add" else -int(constant.min())


def _integers(value: ir.Value | None) -> np.ndarray[tuple[int, ...], np.dtype[np.integer]] | None:
    if value is None or value.const_value is None or not value.const_value.dtype.is_integer():
        return None
    return value.const_value.numpy()


def random_values(model: Path) -> dict[str, Any]:
    """``integer_bounds`` and ``sizes`` of ``open_source`` for random inputs of the graph in a file; nothing where there
    is none.
    """
    if not model.is_file():
        return {}
    graph = read_graph(model)
    return {"integer_bounds": integer_bounds(graph), "sizes": size_inputs(graph)}


_SIZES = {"Expand": 1, "Tile": 1, "ConstantOfShape": 0}


def size_inputs(model: ir.Model) -> set[str]:
    """Integer inputs whose values are sizes: what is expanded, repeated or filled to."""
    return {
        str(value.name)
        for value in model.graph.inputs
        if _integer(value) and any(_SIZES.get(node.op_type) == index for node, index in _reached(value))
    }


def _reached(value: ir.Value) -> Iterator[tuple[ir.Node, int]]:
    """Every use of ``value``, and of what is made of it by operators that keep or choose elements."""
    pending, seen = [value], set[ir.Value]()
    while pending:
        current = pending.pop()
        if current in seen:
            continue
        seen.add(current)
        for node, index in current.uses():
            yield node, index
            if node.op_type in _KEEPING | _CHOOSING and (index == 0 or node.op_type == "Concat"):
                pending.extend(node.outputs)
