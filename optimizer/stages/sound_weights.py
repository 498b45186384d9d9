"""Weights that leave no number of a model's answers: an export of a training run that diverged, a damaged file."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from graphs.errors import BadInput
from graphs.reading.constants import constant_tensor, input_at
from graphs.reading.operators import is_standard
from graphs.reading.weighted import FLOAT_PRODUCTS

_NORMALIZATIONS = frozenset(
    {"BatchNormalization", "LayerNormalization", "InstanceNormalization", "GroupNormalization", "RMSNormalization"}
)
_FLOATS = (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.DOUBLE)
_FACTORS = 2
"""Inputs of a product before its bias. That may be -inf, to rule a class out; a factor of infinity leaves no number."""


_VARIANCE = 4
"""Input of BatchNormalization."""


def check_weights(model: ir.Model, where: str) -> None:
    """Raises ``BadInput`` naming the first product or normalization with a weight of NaN, with an infinite factor, or
    with a variance that has no root.

    Each weight is read once, and summed: as fast as memory is.
    """
    checked = set[ir.Value]()
    for graph in model.graphs():
        for node in graph:
            if not is_standard(node) or node.op_type not in FLOAT_PRODUCTS | _NORMALIZATIONS:
                continue
            _check_variance(node, where)
            for index, value in enumerate(node.inputs):
                if value is not None and value not in checked:
                    checked.add(value)
                    _check(node, value, where, infinite=node.op_type in FLOAT_PRODUCTS and index < _FACTORS)


def _check_variance(node: ir.Node, where: str) -> None:
    """Of a batch normalization by constants: one in training mode takes that of its data."""
    variance = input_at(node, _VARIANCE) if node.op_type == "BatchNormalization" else None
    tensor = constant_tensor(variance) if variance is not None else None
    if tensor is None or node.attributes.get_int("training_mode", 0) != 0:
        return
    rootless = int(np.count_nonzero(tensor.numpy() + node.attributes.get_float("epsilon", 1e-5) <= 0))
    if rootless:
        raise BadInput(
            f"variance {tensor.name!r} of {node.op_type} {node.name!r}: {rootless} of {tensor.size} are negative",
            where=where,
            expected="variances: their root divides the channels",
            fix="export the model again, with the inputs in the order scale, bias, mean, variance",
        )


def _check(node: ir.Node, value: ir.Value, where: str, infinite: bool) -> None:
    tensor = constant_tensor(value)
    if tensor is None or tensor.dtype not in _FLOATS:
        return
    array = tensor.numpy()
    with np.errstate(over="ignore", invalid="ignore"):
        if math.isfinite(float(array.sum(dtype=np.float32 if array.dtype.itemsize < 8 else None))):
            return
    numbers = array.astype(np.float64)
    bad = int(np.count_nonzero(~np.isfinite(numbers) if infinite else np.isnan(numbers)))
    if bad:
        raise BadInput(
            f"weight {value.name!r} of {node.op_type} {node.name!r}: {bad} of {array.size} values are NaN"
            + (" or infinite" if infinite else ""),
            where=where,
            expected="numbers: else the model's own answers are none",
            fix="export the model again, from a checkpoint whose weights are whole",
        )
