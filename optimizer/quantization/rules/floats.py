"""Rules 9, 10 and 12: what stays in high precision whatever its neighbours do."""

from __future__ import annotations

import onnx_ir as ir

from optimizer.quantization.rules.catalogue import Rule

_NORMALIZATION = frozenset(
    {"LayerNormalization", "InstanceNormalization", "GroupNormalization", "BatchNormalization", "RMSNormalization",
     "SkipLayerNormalization", "LpNormalization", "LRN", "Softmax", "LogSoftmax",
     "ReduceMean", "ReduceL2", "Pow", "Sqrt"}
)  # fmt: skip
_SMOOTH = frozenset(
    {"Gelu", "Erf", "Sigmoid", "Tanh", "Swish", "Mish", "HardSwish", "HardSigmoid", "Exp", "Log", "Softplus", "Elu",
     "Selu", "Celu"}
)  # fmt: skip
_RECURRENT = frozenset({"LSTM", "GRU", "RNN"})
_CONTROL = frozenset({"If", "Loop", "Scan"})
EPILOGUES = frozenset({"Relu", "Clip", "LeakyRelu", "PRelu"})


def float_reason(node: ir.Node) -> str:
    """The rule that keeps an unweighted, uncovered node in high precision."""
    if node.op_type in _NORMALIZATION:
        return Rule.KEEP_FLOAT.reason("normalization or reduction")
    if node.op_type in _SMOOTH:
        return Rule.KEEP_FLOAT.reason("smooth activation")
    if node.op_type in _RECURRENT:
        return Rule.KEEP_FLOAT.reason("recurrent layer")
    if node.op_type in _CONTROL:
        return Rule.KEEP_FLOAT.reason("control flow, its branches included")
    if (
        node.op_type == "Gather"
        and node.inputs
        and node.inputs[0] is not None
        and node.inputs[0].const_value is not None
    ):
        return Rule.KEEP_FLOAT.reason("embedding look-up")
    if any(value.is_graph_output() for value in node.outputs):
        return Rule.GRAPH_OUTPUT.reason()
    return Rule.HIGH_PRECISION_REST.reason()
