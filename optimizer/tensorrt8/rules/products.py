"""Convolutions: the parser reads the kernel's size from ``kernel_shape`` where the weight is behind Q/DQ, and takes
constant biases only.
"""

from __future__ import annotations

import onnx_ir as ir

from graphs.reading.constants import constant_tensor
from graphs.reading.shapes import static_shape
from optimizer.tensorrt8.rewriting import Spot


def kernel_shape(spot: Spot) -> bool:
    """Write down the size that the weight has."""
    weight = static_shape(spot.input(1))
    if weight is None or "kernel_shape" in spot.node.attributes:
        return False
    spot.node.attributes["kernel_shape"] = ir.AttrInt64s("kernel_shape", list(weight[2:]))
    return True


def computed_bias(spot: Spot) -> bool:
    """Add a bias that is computed behind the convolution."""
    node, bias = spot.node, spot.input(2)
    rank = len(spot.data().shape or ())
    if bias is None or constant_tensor(bias) is not None or rank < 3:
        return False
    plain = spot.do(node.op_type, spot.data(), spot.input(1))
    producer = plain.producer()
    assert producer is not None
    producer.attributes.update(node.attributes)
    spot.deliver(spot.do("Add", plain, spot.do("Reshape", bias, spot.integers([1, -1, *[1] * (rank - 2)]))))
    return True
