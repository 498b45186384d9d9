"""TensorRT's operators that quantize in blocks, written as ONNX's own: what runs them where TensorRT is not.

``TRT_FP4DynamicQuantize`` finds an FP8 scale for each 16 values of the last axis as the model runs, under one float32
for the tensor; ``TRT_MXFP8DynamicQuantize`` a power of two for each 32. Rounding is to nearest, ties to even,
saturating (OCP MX specification 1.0, 5.3 and 6.3; its scales round up here, as NVIDIA's do, so that nothing saturates).
How TensorRT's own kernels round was not seen: there was no such GPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from graphs.reading.constants import constant_array
from graphs.writing.edits import GraphEdits, drop_unused_initializers

QUANTIZERS = frozenset({"TRT_FP4DynamicQuantize", "TRT_MXFP8DynamicQuantize"})
"""Their first output holds the codes, the second the scales."""
MX_DEQUANTIZER = "TRT_MXFP8DequantizeLinear"
_FLOAT, _FP8 = ir.DataType.FLOAT, ir.DataType.FLOAT8E4M3FN
_E8M0_BIAS = 127  # OCP MX specification 1.0, 5.4.1


def has_block_quantizers(model: ir.Model) -> bool:
    """Whether ``model`` has any, or weights in blocks of small floats, which ONNX Runtime's CPU kernels do not read."""
    made = QUANTIZERS | {MX_DEQUANTIZER}
    return any(node.op_type in made or _is_fp4(node) for node in model.graph.all_nodes())


def expand_block_quantizers(model: ir.Model) -> None:
    """Write all of them as standard operators in float32, in place; constants become float32.

    Only the result of a whole chain, from data to the dequantized values, keeps its name.
    """
    edits, gone = GraphEdits(model.graph), set[ir.Node]()
    for node in list(model.graph.all_nodes()):
        if _is_fp4(node) or node.op_type == MX_DEQUANTIZER:
            gone |= {node, *_makers(node)}
            _expand(edits.within(node.graph), node)
    for node in reversed(list(model.graph.all_nodes())):
        if node in gone and not any(output.uses() or output.is_graph_output() for output in node.outputs):
            assert node.graph is not None
            node.graph.remove(node, safe=True)
    drop_unused_initializers(model)


def block_values(codes: NDArray[np.generic], scales: NDArray[np.generic], axis: int, block: int) -> NDArray[np.float32]:
    """What codes in blocks along ``axis`` stand for."""
    wide = np.repeat(scales.astype(np.float32), block, axis=axis)
    values: NDArray[np.float32] = codes.astype(np.float32) * np.take(wide, np.arange(codes.shape[axis]), axis=axis)
    return values


def _makers(node: ir.Node) -> list[ir.Node]:
    """What makes the codes and the scales that ``node`` reads."""
    found = [value.producer() for value in node.inputs[:2] if value is not None]
    return [maker for maker in found if maker is not None]


def _is_fp4(node: ir.Node) -> bool:
    codes = node.inputs[0] if node.op_type == "DequantizeLinear" else None
    return codes is not None and codes.dtype is ir.DataType.FLOAT4E2M1


def _expand(edits: GraphEdits, node: ir.Node) -> None:
    codes, scales = node.inputs[0], node.inputs[1]
    assert codes is not None and scales is not None
    maker, output = codes.producer(), node.outputs[0]
    axis, block = node.attributes.get_int("axis", -1), node.attributes.get_int("block_size", 0)
    if maker is None:
        array = constant_array(codes)
        assert array is not None
        value = edits.constant(f"{codes.name}/values", block_values(array, _constant_scales(scales), axis, block))
    else:
        (data, *level), fp4 = maker.inputs, maker.op_type == "TRT_FP4DynamicQuantize"
        assert data is not None
        value = data
        for made in _chain(edits, data, level[0] if fp4 else None, block, str(output.name)):
            edits.graph.insert_before(node, made)
            value = made.outputs[0]
    value.shape, name = output.shape, output.name
    if output.dtype is not None and output.dtype is not _FLOAT:
        cast = edits.node(
            "Cast", [value], f"{name}/typed", f"{name}/typed", output.dtype, output.shape, {"to": output.dtype.value}
        )
        edits.graph.insert_before(node, cast)
        value = cast.outputs[0]
    output.replace_all_uses_with(value, replace_graph_outputs=True)
    if not value.is_initializer():
        output.name, value.name = edits.names.value(f"{name}/dequantized"), name


def _constant_scales(scales: ir.Value) -> NDArray[np.float32]:
    """Scales of constants: FP8 under a level, or exponents."""
    maker = scales.producer()
    if maker is None:
        exponents = constant_array(scales)
        assert exponents is not None
        return np.exp2(exponents.astype(np.float32) - _E8M0_BIAS)
    codes, level = (constant_array(value) for value in maker.inputs[:2])
    assert codes is not None and level is not None
    return codes.astype(np.float32) * level.astype(np.float32)


class _Make(Protocol):
    def __call__(
        self, op_type: str, *inputs: ir.Value | float, dtype: ir.DataType = ..., **attributes: int
    ) -> ir.Node: ...


def _chain(edits: GraphEdits, data: ir.Value, level: ir.Value | None, block: int, name: str) -> Iterator[ir.Node]:
    """Nodes that round ``data`` in blocks; the last one's output is the result."""
    last: list[ir.Value] = []

    def made(op_type: str, *inputs: ir.Value | float, dtype: ir.DataType = _FLOAT, **attributes: int) -> ir.Node:
        operands = [
            value if isinstance(value, ir.Value) else edits.constant(f"{name}/c", np.float32(value)) for value in inputs
        ]
        node = edits.node(op_type, operands, f"{name}/{op_type}", f"{name}/{op_type}_out", dtype, None, attributes)
        last[:] = [node.outputs[0]]
        return node

    whole = ir.DataType.INT64
    if data.dtype is not None and data.dtype is not _FLOAT:
        yield made("Cast", data, to=_FLOAT.value)
        data = last[0]
    yield made("Shape", data, dtype=whole)
    shape = last[0]
    yield made("Shape", data, dtype=whole, end=-1)
    blocks = edits.constant(f"{name}/blocks", np.array([-1, block], np.int64))
    yield made("Concat", last[0], blocks, dtype=whole, axis=0)
    yield made("Reshape", data, last[0])
    rows = last[0]
    yield made("Abs", rows)
    yield made("ReduceMax", last[0], edits.constant(f"{name}/axis", np.array([-1], np.int64)), keepdims=1)
    scales = _fp8_scales(made, last, level) if level is not None else _powers(made, last)
    yield from scales
    scale = last[0]
    yield made("Div", rows, scale)
    yield from _fp4(made, last) if level is not None else _fp8(made, last)
    yield made("Mul", last[0], scale)
    yield made("Reshape", last[0], shape)


def _fp8_scales(made: _Make, last: list[ir.Value], level: ir.Value) -> Iterator[ir.Node]:
    """amax / 6 in FP8 under ``level``; one where that is zero, for all codes are zero then."""
    yield made("Div", last[0], 6.0)
    yield made("Div", last[0], level)
    yield from _fp8(made, last)
    yield made("Mul", last[0], level)
    scale = last[0]
    yield made("Equal", scale, 0.0, dtype=ir.DataType.BOOL)
    yield made("Where", last[0], 1.0, scale)


def _powers(made: _Make, last: list[ir.Value]) -> Iterator[ir.Node]:
    """The smallest power of two that is no less than amax / 448, within what E8M0 holds: a logarithm is off by one at
    times, and put right by comparing.
    """
    yield made("Div", last[0], 448.0)
    yield made("Max", last[0], 2.0**-120)
    wanted = last[0]
    yield made("Log", wanted)
    yield made("Mul", last[0], 1 / float(np.log(2)))
    yield made("Ceil", last[0])
    exponent = last[0]
    yield made("Pow", 2.0, exponent)
    power = last[0]
    yield made("Mul", power, 0.5)
    half = last[0]
    yield made("GreaterOrEqual", half, wanted, dtype=ir.DataType.BOOL)
    yield made("Where", last[0], half, power)
    power = last[0]
    yield made("Mul", power, 2.0)
    double = last[0]
    yield made("Less", power, wanted, dtype=ir.DataType.BOOL)
    yield made("Where", last[0], double, power)


def _fp8(made: _Make, last: list[ir.Value]) -> Iterator[ir.Node]:
    yield made("Clip", last[0], -448.0, 448.0)
    yield made("Cast", last[0], dtype=_FP8, to=_FP8.value)
    yield made("Cast", last[0], to=_FLOAT.value)


def _fp4(made: _Make, last: list[ir.Value]) -> Iterator[ir.Node]:
    """E2M1 has steps of a half up to 2, of one up to 4, of two up to 6; ties to even are those of the step's number."""
    yield made("Clip", last[0], -6.0, 6.0)
    value = last[0]
    yield made("Abs", value)
    size = last[0]
    yield made("Less", size, 4.0, dtype=ir.DataType.BOOL)
    yield made("Where", last[0], 1.0, 2.0)
    wide = last[0]
    yield made("Less", size, 2.0, dtype=ir.DataType.BOOL)
    yield made("Where", last[0], 0.5, wide)
    step = last[0]
    yield made("Div", value, step)
    yield made("Round", last[0])
    yield made("Mul", last[0], step)
