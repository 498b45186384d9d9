"""Rules 7 and 8: ops that only move or select values, so a per-tensor Q or DQ passes through them unchanged."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from graphs.reading.operators import MOVING, is_standard

COMMUTING = MOVING | {"Concat"}
AVERAGING = frozenset({"AveragePool", "GlobalAveragePool"})


def moves_values(node: ir.Node | None) -> bool:
    """Whether every output element of ``node`` is one of its input-0 elements."""
    return node is not None and is_standard(node) and node.op_type in COMMUTING


def data_inputs(node: ir.Node) -> list[ir.Value]:
    """The inputs that carry values: all of a Concat's, the first of any other commuting op."""
    inputs = node.inputs if node.op_type == "Concat" else node.inputs[:1]
    return [value for value in inputs if value is not None]


def origin(value: ir.Value) -> ir.Value:
    """Where the values come from, looking back through single-input commuting ops (stops at a Concat)."""
    producer = value.producer()
    while producer is not None and moves_values(producer) and producer.op_type != "Concat":
        source = producer.inputs[0]
        if source is None:
            break
        value, producer = source, source.producer()
    return value


def concat_branches(value: ir.Value) -> list[ir.Value]:
    """The tensors a Concat behind ``value`` joins, nested ones flattened; empty where there is no Concat."""
    producer = origin(value).producer()
    if producer is None or producer.op_type != "Concat":
        return []
    return list(_leaves(producer))


def _leaves(concat: ir.Node) -> Iterator[ir.Value]:
    for value in data_inputs(concat):
        nested = concat_branches(value)
        yield from nested or [value]
