"""Types for a library that has no strongly typed networks (TensorRT 8): flags, and constraints layer by layer.

There the types of a network are proposals: with ``BuilderFlag.FP16`` the builder takes whichever of FP16 and FP32 is
faster at each layer. So what has to stay FP32 is stated, and obeyed (``OBEY_PRECISION_CONSTRAINTS``): the layer's
precision and the type of its results. What may be FP16 is left to the builder, which then falls back to FP32 where
this GPU has no FP16 kernel instead of refusing the network (single operators on Hopper, say). INT8 follows from Q/DQ
alone. A layer without a node, or one that computes nothing (shapes, constants, Q/DQ), is never constrained.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from engines.tensorrt.dtypes import type_name
from engines.tensorrt.library import Library

_QDQ = frozenset({"QUANTIZE", "DEQUANTIZE"})
_FREE = _QDQ | {"CONSTANT", "SHAPE", "IDENTITY", "CAST", "ASSERTION"}
"""Kinds of layers that compute nothing in floating point, or state their type themselves (casts)."""
_FLOATS = frozenset({"FLOAT", "HALF"})
_WIDE = frozenset({"fp32", "bf16"})
"""What TensorRT 8, which has no BF16, must hold in FP32: a node is in BF16 for its range's sake."""


def state_types(
    library: Library,
    network: Any,
    config: Any,
    layers: Sequence[Any],
    nodes: Sequence[tuple[str, ...]],
    types: Mapping[str, str],
) -> tuple[str, ...]:
    """Set builder flags and constraints after ``types``, what each ONNX node computes in (``"fp32"``, ``"fp16"``,
    ``"int8"``); ``nodes`` are those of each layer. Returns notes."""
    if library.capabilities.strongly_typed or not library.capabilities.layer_precisions:
        return ()
    flags = library.module.BuilderFlag
    kinds = [_kind(layer) for layer in layers]
    inputs = {type_name(network.get_input(index).dtype) for index in range(network.num_inputs)}
    half = "fp16" in types.values() or "HALF" in inputs.union(*map(_output_types, layers))
    if half:
        config.set_flag(flags.FP16)
    if _QDQ.intersection(kinds):
        config.set_flag(flags.INT8)
    if not half:
        return ()
    held = [
        layer
        for layer, kind, names in zip(layers, kinds, nodes, strict=True)
        if kind not in _FREE and _stays_wide(names, types) and _output_types(layer) <= _FLOATS
    ]
    if not held:  # 8.6's parser states types of its own for Q/DQ, which need not be obeyed
        return ()
    config.set_flag(flags.OBEY_PRECISION_CONSTRAINTS)
    for layer in held:
        _constrain(library, layer)
    return (f"{len(held)} layers are held in FP32, as the precision plan says",)


def _stays_wide(nodes: Iterable[str], types: Mapping[str, str]) -> bool:
    return any(types.get(node) in _WIDE for node in nodes)


def _constrain(library: Library, layer: Any) -> None:
    assert library.capabilities.layer_precisions
    wide = library.module.DataType.FLOAT
    layer.precision = wide
    for index in range(layer.num_outputs):
        if not layer.get_output(index).is_network_output:  # those have the type that the model declares
            layer.set_output_type(index, wide)


def _kind(layer: Any) -> str:
    return str(layer.type).rpartition(".")[2]


def _output_types(layer: Any) -> set[str]:
    outputs = (layer.get_output(index) for index in range(layer.num_outputs))
    return {type_name(output.dtype) for output in outputs if output is not None}
