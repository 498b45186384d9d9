"""Sparse tensors made dense: ``onnx_ir`` and every runtime but ONNX Runtime know dense ones only."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from graphs.errors import BadInput
from graphs.reading.walk import graphs_of, nodes_of

MOST_ELEMENTS = 1 << 28
"""A dense tensor of more elements (1 GiB in float32) was sparse for a reason. Chosen."""


def densify(proto: onnx.ModelProto, folder: Path, where: str) -> list[str]:
    """Replace sparse initializers and Constants with ``sparse_value`` by dense ones, in place; returns notes."""
    count = 0
    for graph in graphs_of(proto):
        for sparse in graph.sparse_initializer:
            graph.initializer.append(_dense(sparse, folder, where))
            count += 1
        del graph.sparse_initializer[:]
    for node in nodes_of(proto):
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.SPARSE_TENSOR:
                dense = _dense(attribute.sparse_tensor, folder, where)
                attribute.CopyFrom(onnx.helper.make_attribute("value", dense))
                count += 1
    return [f"{count} sparse tensors made dense"] if count else []


def _dense(sparse: onnx.SparseTensorProto, folder: Path, where: str) -> onnx.TensorProto:
    """Indices are positions in the flattened tensor [n], or one row of coordinates each [n, rank]."""
    name, shape = sparse.values.name, tuple(sparse.dims)
    if any(size < 0 for size in shape) or math.prod(shape) > MOST_ELEMENTS:
        raise BadInput(
            f"sparse tensor {name!r} has shape {list(shape)}",
            where=where,
            expected=f"dimensions >= 0 and at most {MOST_ELEMENTS} elements once dense",
        )
    values = numpy_helper.to_array(sparse.values, base_dir=str(folder))
    indices = numpy_helper.to_array(sparse.indices, base_dir=str(folder)).astype(np.int64)
    if indices.ndim == 2:
        indices = np.ravel_multi_index(tuple(indices.T), shape) if indices.size else indices.reshape(-1)
    if indices.size != values.size or (indices.size and not 0 <= indices.min() <= indices.max() < math.prod(shape)):
        raise BadInput(
            f"sparse tensor {name!r} has indices that do not fit its shape {list(shape)}",
            where=where,
            expected=f"{values.size} positions inside the tensor",
        )
    dense = np.zeros(math.prod(shape), values.dtype)
    dense[indices] = values.reshape(-1)
    return numpy_helper.from_array(dense.reshape(shape), name)
