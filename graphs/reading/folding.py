"""Constants evaluated: onnxscript's folder, with what our graphs need beside it."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir
from onnxscript.optimizer import fold_constants

from graphs.library_logs import quiet

_FILL = 1024
"""Elements of a constant fill, at most, that is folded: shapes and paddings, no weights. Chosen."""


def fold(model: ir.Model, input_limit: int, output_limit: int) -> None:
    """Evaluate nodes of constants, in place, whose operands and results have at most so many elements each.

    What a constant overflows to is the model's own number (a mask of -3.4e38 is -inf in float16, the logarithm of a
    bucket that is never read is -inf): numpy warns of none, and onnxscript of nothing that it leaves as it is.
    """
    with np.errstate(all="ignore"), quiet():
        fold_constants(
            model,
            onnx_shape_inference=True,
            input_size_limit=input_limit,
            output_size_limit=output_limit,
            should_fold=_small_fills,
        )


def _small_fills(node: ir.Node) -> bool | None:
    """A ``should_fold`` rule for onnxscript: ConstantOfShape, which its folder keeps, folds up to ``_FILL`` elements.

    Exporters build the ``pads`` of Pad with it. Source: torch.onnx, symbolic_opset11 ``_prepare_onnx_paddings``.
    """
    if node.op_type != "ConstantOfShape" or node.inputs[0] is None:
        return None
    shape = node.inputs[0].const_value
    return True if shape is not None and math.prod(shape.numpy().tolist()) <= _FILL else None
