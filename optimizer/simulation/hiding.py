"""Where huge values end: in what only asks whether they are huge (a softmax, a comparison), or in arithmetic.

A fill of -1e9 that hides scores may become infinity in FP16 where a softmax follows. One that a product, a sum over
an axis or a user of the model reads is a number like any other: a pressure in pascals beside fractions, a masked logit
that the model gives out.
"""

from __future__ import annotations

import onnx_ir as ir

from graphs.reading.operators import MOVING, is_standard

_HANDS_ON = MOVING | {
    *("Add", "Sub", "Mul", "Div", "Neg", "Where", "Cast", "QuantizeLinear", "DequantizeLinear"),
    *("Concat", "Pad", "Trilu", "GatherElements", "GatherND", "ScatterElements", "ScatterND", "Compress", "Relu"),
}
"""Operators whose results hold fills where their operands do: infinity in the place of a huge number stays infinity."""
_ENDS = {
    *("Softmax", "LogSoftmax", "Hardmax", "Exp", "Sigmoid", "HardSigmoid", "Tanh", "Erf", "Attention"),
    *("Clip", "Max", "Min", "ReduceMax", "ReduceMin", "ReduceLogSumExp", "ArgMax", "ArgMin", "TopK"),
    *("Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal", "IsInf", "IsNaN", "Sign", "NonMaxSuppression"),
}
"""Operators that make of infinity what they make of a huge number, or choose between values."""


def only_hides(value: ir.Value) -> bool:
    """Whether all that reads ``value``, directly or through operators that hand on huge numbers, is in ``_ENDS``."""
    met, open_ = {value}, [value]
    while open_:
        current = open_.pop()
        if current.is_graph_output():
            return False
        for user, _ in current.uses():
            if is_standard(user) and user.op_type in _ENDS:
                continue
            if not is_standard(user) or user.op_type not in _HANDS_ON:
                return False
            fresh = [output for output in user.outputs if output not in met]
            met.update(fresh)
            open_ += fresh
    return True
