"""Which operators are ONNX's own, and which compute nothing."""

from __future__ import annotations

import onnx_ir as ir

STANDARD_DOMAINS = frozenset({"", "ai.onnx"})
MOVING = frozenset(
    {
        *("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Identity", "DepthToSpace", "SpaceToDepth"),
        *("Expand", "Tile", "Slice", "Gather", "Split", "Dropout", "MaxPool"),
    }
)
"""Operators each of whose output elements is an element of their first input; a Concat has several such inputs."""


def is_standard(node: ir.Node) -> bool:
    """Whether the operator is of the ONNX standard, not of a runtime's or a user's domain."""
    return node.domain in STANDARD_DOMAINS
