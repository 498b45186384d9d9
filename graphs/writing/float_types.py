"""Floats written in another type: constants, the types of values, and what attributes say of types."""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np
import onnx_ir as ir

from graphs.reading.constants import Array
from graphs.writing.lazy_tensors import small_at_once

_FLOAT = ir.DataType.FLOAT
_TYPE_ATTRIBUTES = ("to", "dtype", "output_dtype", "output_datatype", "softmax_precision", "stash_type")
"""Attributes of standard operators that name a type."""


def cast_tensor(tensor: ir.TensorProtocol, dtype: ir.DataType, name: str | None) -> ir.TensorProtocol:
    """The numbers of ``tensor`` rounded to ``dtype``, under ``name``; beyond its range they are infinite."""

    def rounded(array: Array) -> Array:
        with np.errstate(over="ignore"):
            return array.astype(dtype.numpy())

    return small_at_once(rounded, tensor, name, dtype)


def names_type(attribute: ir.Attr, of: Collection[ir.DataType]) -> bool:
    """Whether an attribute says that something is ``of`` these types."""
    return attribute.name in _TYPE_ATTRIBUTES and attribute.value in {dtype.value for dtype in of}


def holds_type(attribute: ir.Attr, of: Collection[ir.DataType]) -> bool:
    """Whether an attribute is a tensor ``of`` these types."""
    return attribute.type == ir.AttributeType.TENSOR and attribute.value.dtype in of


def float32_type(kind: ir.TypeProtocol, of: Collection[ir.DataType]) -> ir.TypeProtocol:
    """The same tensor, sequence or optional, of float32 where it is ``of`` these types."""
    if isinstance(kind, (ir.SequenceType, ir.OptionalType)):
        return type(kind)(float32_type(kind.elem_type, of))
    return ir.TensorType(_FLOAT) if kind.dtype in of else kind


def float32_attributes(
    node: ir.Node,
    of: Collection[ir.DataType],
    converted: Callable[[ir.TensorProtocol], ir.TensorProtocol] = lambda tensor: cast_tensor(tensor, _FLOAT, None),
) -> None:
    """Types and tensors that attributes of ``node`` hold: float32 where they are ``of`` these types."""
    for name, attribute in list(node.attributes.items()):
        if attribute.is_ref():
            continue
        if names_type(attribute, of):
            node.attributes[name] = ir.AttrInt64(name, _FLOAT.value)
        elif holds_type(attribute, of):
            node.attributes[name] = ir.AttrTensor(name, converted(attribute.as_tensor()))
