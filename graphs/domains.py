"""Which operators are ONNX's own."""

from __future__ import annotations

import onnx_ir as ir

STANDARD_DOMAINS = frozenset({"", "ai.onnx"})


def is_standard(node: ir.Node) -> bool:
    """Whether the operator is of the ONNX standard, not of a runtime's or a user's domain."""
    return node.domain in STANDARD_DOMAINS
