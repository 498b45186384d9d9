"""Every operator whose form or meaning changed up to opset 21, with the opset that changed it.

Made by comparing all versions of all schemas in ``onnx.defs`` (inputs, outputs, attributes, defaults) and reading
those whose text changed: https://github.com/onnx/onnx/blob/main/docs/Changelog.md. A step that only added types,
optional inputs or attributes with the old meaning as default needs nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import onnx_ir as ir

from graphs.writing.free_names import FreeNames
from optimizer.importing.adapters import broadcasting, moved, normalizing, resizing, scanning
from optimizer.importing.adapters.site import NotYet, Site

Adapter: TypeAlias = Callable[[Site], None]

_CONSUMED = (
    *("Abs", "Add", "BatchNormalization", "Ceil", "Clip", "Div", "Dropout", "Elu", "Exp", "Floor", "HardSigmoid"),
    *("InstanceNormalization", "LeakyRelu", "Log", "Max", "Mean", "Min", "Mul", "Neg", "PRelu", "Reciprocal", "Relu"),
    *("Selu", "Sigmoid", "Sqrt", "Sub", "Sum", "Tanh"),
)
_ALIGNED = ("Add", "Sub", "Mul", "Div", "Pow", "And", "Or", "Xor", "Equal", "Greater", "Less")
_REDUCTIONS = (
    *("ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2"),
    *("ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare"),
)


def _catalogue() -> dict[str, dict[int, tuple[Adapter, ...]]]:
    """Operator -> opset -> adapters."""
    rows: list[tuple[int, tuple[str, ...], Adapter]] = [
        (2, ("LpPool", "GlobalLpPool"), moved.integer_norm),
        (2, ("Pad",), moved.pad_amounts),
        (3, ("GRU",), moved.gru_direction),
        (4, ("Concat",), moved.concat_axis),
        (5, ("Reshape",), moved.drop_consumed_inputs),
        (5, ("Reshape",), moved.reshape_by_attribute),
        (6, _CONSUMED, moved.drop_consumed_inputs),
        (6, ("Cast",), moved.cast_by_name),
        (6, ("Selu",), moved.selu_defaults),
        (6, ("Tile",), broadcasting.tile_one_axis),
        (7, _ALIGNED, broadcasting.align_second_operand),
        (7, ("Gemm",), broadcasting.gemm),
        (7, ("PRelu",), broadcasting.prelu),
        (7, ("LSTM", "GRU", "RNN"), moved.recurrent_outputs),
        (7, ("BatchNormalization",), normalizing.batch_norm_mode),
        (7, ("Upsample",), resizing.upsample_by_two_factors),
        (9, ("BatchNormalization",), normalizing.batch_norm_per_activation),
        (9, ("Upsample",), resizing.upsample_by_attribute),
        (9, ("Scan",), scanning.scan_without_batch),
        (10, ("Slice",), moved.slice_by_attribute),
        (10, ("TopK",), moved.topk_by_attribute),
        (10, ("Upsample",), resizing.upsample_is_resize),
        (11, ("Clip",), moved.clip_by_attribute),
        (11, ("Pad",), moved.pad_by_attribute),
        (11, ("Resize",), resizing.resize_asymmetric),
        (11, ("Scatter",), moved.scatter_elements),
        (12, ("Dropout",), moved.dropout_by_attribute),
        (13, ("Softmax", "LogSoftmax", "Hardmax"), normalizing.softmax_over_matrix),
        (13, ("Squeeze", "Unsqueeze", "ReduceSum"), moved.axes_by_attribute),
        (13, ("Split",), moved.split_by_attribute),
        (13, ("Resize",), resizing.resize_like_tensorflow),
        (14, ("BatchNormalization",), normalizing.batch_norm_outputs),
        (16, ("RoiAlign",), moved.roi_align_mode),
        (18, _REDUCTIONS, moved.axes_by_attribute),
        (18, ("Split",), moved.split_evenly),
        (20, ("GridSample",), moved.grid_sample_modes),
        (20, ("DFT",), moved.dft_axis),
        (21, ("GroupNormalization",), normalizing.group_norm_per_channel),
    ]
    found: dict[str, dict[int, tuple[Adapter, ...]]] = {}
    for version, names, adapter in rows:
        for name in names:
            steps = found.setdefault(name, {})
            steps[version] = (*steps.get(version, ()), adapter)
    return found


ADAPTERS = _catalogue()


def adapt_node(node: ir.Node, version: int, target: int, names: FreeNames, *, last: bool) -> int:
    """Bring ``node`` from opset ``version`` towards ``target``, in place; returns the opset it has reached.

    That is less than ``target`` where a rank or type has to be known first; with ``last`` that is an error like any
    other. Raises ``CannotConvert`` with the reason.
    """
    for step in range(version + 1, target + 1):
        for adapter in ADAPTERS.get(node.op_type, {}).get(step, ()):
            try:
                adapter(Site(node, names, last))
            except NotYet:
                if last:
                    raise
                return step - 1
    return target
