"""Bodies of ONNX Runtime's Attention and MultiHeadAttention (``com.microsoft``): products, mask, softmax.

Definitions: ONNX Runtime's ``docs/ContribOperators.md``. Written are those without a cache; a mask adds
``mask_filter_value`` where it hides, as the CPU's kernel does (``PrepareMask`` in ``attention_helper.h``).
"""

from __future__ import annotations

import math

import onnx_ir as ir

from graphs.reading.constants import input_at
from optimizer.passes.spelling_out.bodies import Bodies, Body, rank_of, size_of

_HIDDEN = -10000.0
"""``mask_filter_value`` where none is given."""


def _attention(node: ir.Node, opset: int) -> ir.Function | None:
    """Queries, keys and values out of one product; a mask of 0 and 1, or the length of each row."""
    heads, packed = node.attributes.get_int("num_heads", 0), size_of(node, 1, -1)
    rotary = node.attributes.get_int("do_rotary", 0)
    if not heads or packed is None or rotary or any(input_at(node, index) is not None for index in (4, 6)):
        return None
    sizes = list(node.attributes.get_ints("qkv_hidden_sizes", ())) or [packed // 3] * 3
    if input_at(node, 3) is not None and rank_of(node, 3) not in (1, 2):
        return None
    body = Body(node, opset)
    product = body.do("MatMul", body.given(0), body.given(1))
    if body.given(2):
        product = body.do("Add", product, body.given(2))
    queries, keys, values = body.split(product, sizes, -1)
    found = _attended(body, node, (queries, keys, values), (sizes[0] // heads, sizes[2] // heads), mask=3, bias=5)
    return body.function(found) if found is not None else None


def _multi_head(node: ir.Node, opset: int) -> ir.Function | None:
    """Queries, keys and values of rank 3 that are projected already, each with its part of the bias."""
    heads, width, deep = node.attributes.get_int("num_heads", 0), size_of(node, 0, -1), size_of(node, 2, -1)
    if not heads or width is None or deep is None or any(rank_of(node, index) != 3 for index in range(3)):
        return None
    if any(input_at(node, index) is not None for index in range(6, len(node.inputs))):
        return None
    if input_at(node, 4) is not None and rank_of(node, 4) != 2:
        return None
    body = Body(node, opset)
    streams = [body.given(index) for index in range(3)]
    if body.given(3):
        parts = body.split(body.given(3), [width, width, deep], 0)
        streams = [body.do("Add", stream, part) for stream, part in zip(streams, parts, strict=True)]
    queries, keys, values = streams
    found = _attended(body, node, (queries, keys, values), (width // heads, deep // heads), mask=4, bias=5)
    return body.function(found) if found is not None else None


def _attended(
    body: Body, node: ir.Node, streams: tuple[str, str, str], sizes: tuple[int, int], *, mask: int, bias: int
) -> str | None:
    """Softmax of scores, times the values. ``sizes`` are those of a head of keys and of values; ``mask`` and ``bias``
    say which input hides places and which is added to scores.
    """
    attributes = node.attributes
    heads = attributes.get_int("num_heads", 0)
    hidden = attributes.get_float("mask_filter_value", _HIDDEN)
    scale = attributes.get_float("scale", 0.0) or 1.0 / math.sqrt(sizes[0])
    depths = (sizes[0], sizes[0], sizes[1])
    turns = ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3])
    split = [body.do("Reshape", s, body.ints(0, 0, heads, d)) for s, d in zip(streams, depths, strict=True)]
    queries, keys, values = (body.do("Transpose", s, perm=turn) for s, turn in zip(split, turns, strict=True))
    scores = body.do("MatMul", queries, keys)
    scores = body.do("Mul", scores, body.number(scale, scores))
    if body.given(bias):
        scores = body.do("Add", scores, body.given(bias))
    if body.given(mask):
        scores = body.do("Add", scores, _hiding(body, rank_of(node, mask), body.given(mask), scores, hidden))
    if attributes.get_int("unidirectional", 0):
        scores = body.do("Add", scores, _later(body, scores, hidden))
    weighed = body.do("MatMul", body.do("Softmax", scores, axis=-1), values)
    return body.do("Reshape", body.do("Transpose", weighed, perm=[0, 2, 1, 3]), body.ints(0, 0, heads * sizes[1]))


def _hiding(body: Body, rank: int | None, mask: str, scores: str, hidden: float) -> str:
    """What is added to scores, [rows, 1, 1, places]: of a mask of 0 and 1, or of the number of places that count."""
    if rank == 1:
        rows = body.do("Unsqueeze", body.do("Cast", mask, to=ir.DataType.INT64.value), body.ints(1))
        places = body.do("Squeeze", body.do("Shape", scores, start=3, end=4))
        zero, one = (body.do("Constant", value_int=value) for value in (0, 1))
        outside = body.do("Not", body.do("Less", body.do("Range", zero, places, one), rows))
        share = body.do("CastLike", outside, scores)
    else:
        share = body.do("Sub", body.number(1.0, scores), body.do("CastLike", mask, scores))
    return body.do("Mul", body.do("Unsqueeze", share, body.ints(1, 2)), body.number(hidden, scores))


def _later(body: Body, scores: str, hidden: float) -> str:
    """What is added to scores of later places, [queries, places]."""
    square = body.do("Shape", scores, start=2, end=4)
    filled = body.do("Expand", body.number(hidden, scores), square)
    return body.do("Trilu", filled, body.do("Constant", value_int=1), upper=1)


ATTENTION: Bodies = {"Attention": _attention, "MultiHeadAttention": _multi_head}
