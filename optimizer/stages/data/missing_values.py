"""Which inputs may hold NaN: those whose reader tells a missing value from a number (imputation, trees)."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from graphs.reading.operators import MOVING

_READERS = {
    ("", "IsNaN"),
    ("", "IsInf"),
    *(("ai.onnx.ml", name) for name in ("Imputer", "TreeEnsemble", "TreeEnsembleClassifier", "TreeEnsembleRegressor")),
}
"""IsNaN stands before the Where that fills in; trees have a branch for values that are missing."""
_PASSED_ON = MOVING | {"Cast", "Concat"}


def takes_missing_values(value: ir.Value) -> bool:
    """Whether such an operator reads ``value``, directly or over operators that only move values."""
    return any((node.domain, node.op_type) in _READERS for node in _readers(value))


def _readers(value: ir.Value) -> Iterator[ir.Node]:
    front, seen = [value], set[ir.Value]()
    while front:
        current = front.pop()
        if current in seen:
            continue
        seen.add(current)
        for node, _ in current.uses():
            yield node
            if node.op_type in _PASSED_ON:
                front.extend(node.outputs)
