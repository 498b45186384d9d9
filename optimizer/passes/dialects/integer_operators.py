"""Operators that compute on codes, spelt out: what goes in is dequantized, what comes out is quantized.

ONNX's QLinearConv and QLinearMatMul and the ``com.microsoft`` operators of ONNX Runtime's QOperator format
(``docs/ContribOperators.md``). TensorRT takes none of them; ONNX Runtime fuses the spelt-out form into them again. A
result may fall to the neighbouring code where the integer kernel rounds otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx_ir as ir

from graphs.reading.constants import Array, constant_array, input_at
from graphs.reading.operators import is_standard
from graphs.writing.edits import GraphEdits, drop_unused_initializers
from optimizer.passes.base import PassResult

_MICROSOFT = "com.microsoft"
_FLOAT = ir.DataType.FLOAT


class SpellOutIntegers:
    """Each such operator becomes DQ, its float operator, Q. One whose scales are computed stays."""

    name = "spell out integer operators"

    def apply(self, model: ir.Model) -> PassResult:
        edits, spelt = GraphEdits(model.graph), 0
        for node in list(model.graph):
            write = _spelling(node)
            spelt += write is not None and write(_Site(edits, node))
        if spelt:
            drop_unused_initializers(model)
        return PassResult(spelt, (f"{spelt} integer operators spelt out as Q/DQ",) if spelt else ())


class _Site:
    """One operator about to be replaced."""

    def __init__(self, edits: GraphEdits, node: ir.Node) -> None:
        self.edits, self.node, self.made = edits, node, list[ir.Node]()

    def input(self, index: int) -> ir.Value | None:
        return input_at(self.node, index)

    def constants(self, *indices: int) -> bool:
        """Whether the inputs at ``indices`` are constants, or left out."""
        given = [self.input(index) for index in indices]
        return all(value is None or constant_array(value) is not None for value in given)

    def dequantized(self, index: int, axis: int | None = None) -> ir.Value:
        """Operand ``index``, whose scale and zero point follow it, in float; ``axis`` where it has scales along one."""
        codes, scale, zero = (self.input(index + place) for place in range(3))
        assert codes is not None and scale is not None
        values = constant_array(scale)
        many = axis is not None and values is not None and values.size > 1
        scale, zero = self._shaped(scale, many), self._shaped(zero, many)
        attributes = {"axis": axis} if many and axis is not None else {}
        return self.do("DequantizeLinear", [codes, scale, zero], f"{codes.name}/float", _FLOAT, codes.shape, attributes)

    def _shaped(self, value: ir.Value | None, many: bool) -> ir.Value | None:
        """Scale and zero point as DQ has them: a scalar, or one vector; ONNX Runtime's may have one element."""
        array = constant_array(value)
        wanted = (-1,) if many else ()
        if value is None or array is None or array.shape == np.empty(array.size).reshape(wanted).shape:
            return value
        return self.edits.constant(f"{value.name}/shaped", array.reshape(wanted))

    def do(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        name: str,
        dtype: ir.DataType,
        shape: ir.Shape | None,
        attributes: Mapping[str, int] | None = None,
    ) -> ir.Value:
        made = self.edits.node(op_type, inputs, name, name, dtype, shape, attributes)
        self.made.append(made)
        return made.outputs[0]

    def compute(self, op_type: str, inputs: Sequence[ir.Value | None], without: Sequence[str] = ()) -> ir.Value:
        """The float operator, with the attributes of the integer one but those ``without``, under its name."""
        output = self.node.outputs[0]
        result = self.do(op_type, inputs, f"{output.name}/float", _FLOAT, output.shape)
        operator = self.made[-1]
        operator.attributes.update({k: v for k, v in self.node.attributes.items() if k not in without})
        self.result_of = operator
        return result

    def quantized(self, result: ir.Value, scale: int) -> bool:
        """Let ``result`` be read as codes in place of the operator's; ``scale`` is where its scale stands."""
        scales, zero = (self._shaped(self.input(index), many=False) for index in (scale, scale + 1))
        output = self.node.outputs[0]
        if scales is not None:
            kind = output.dtype or (zero.dtype if zero is not None else None) or ir.DataType.UINT8
            result = self.do("QuantizeLinear", [result, scales, zero], f"{output.name}/Q", kind, output.shape)
        return self.replace(result)

    def replace(self, result: ir.Value) -> bool:
        """``result`` takes the place, and where it is a graph's output the name, of what the operator gave."""
        output, graph, name = self.node.outputs[0], self.node.graph, self.node.name
        assert isinstance(graph, ir.Graph)
        graph.insert_before(self.node, self.made)
        if output.is_graph_output():
            output.name, result.name = f"{output.name}/replaced", output.name
        output.replace_all_uses_with(result, replace_graph_outputs=True)
        graph.remove(self.node, safe=True)
        self.result_of.name = name  # products are found under the name they had
        return True

    def bias(self, index: int, data: int, weight: int, factor: float = 1.0) -> ir.Value | None:
        """Constant int32 codes at the product of both scales, as float."""
        codes = constant_array(self.input(index))
        if codes is None:
            return None
        scales = [np.asarray(constant_array(self.input(place)), np.float64).reshape(-1) for place in (data, weight)]
        return self.edits.constant(f"{self.node.name}/bias", _float32(codes * (scales[0] * scales[1] * factor)))


def _float32(array: Array) -> Array:
    return array.astype(np.float32)


def _convolution(site: _Site) -> bool:
    if not site.constants(1, 2, 4, 5, 6, 7, 8):
        return False
    inputs = [site.dequantized(0), site.dequantized(3, axis=0)]
    bias = site.bias(8, 1, 4)
    return site.quantized(site.compute("Conv", [*inputs, bias] if bias is not None else inputs), 6)


def _matmul(site: _Site) -> bool:
    rank = len(site.node.inputs[3].shape or ()) if site.node.inputs[3] is not None else 0
    if not site.constants(1, 2, 4, 5, 6, 7):
        return False
    return site.quantized(site.compute("MatMul", [site.dequantized(0), site.dequantized(3, axis=rank - 1)]), 6)


def _gemm(site: _Site) -> bool:
    attributes = site.node.attributes
    if not site.constants(1, 2, 4, 5, 6, 7, 8):
        return False
    axis = 0 if attributes.get_int("transB", 0) else 1
    inputs = [site.dequantized(0), site.dequantized(3, axis=axis)]
    bias = site.bias(6, 1, 4, attributes.get_float("alpha", 1.0))
    return site.quantized(site.compute("Gemm", [*inputs, bias] if bias is not None else inputs), 7)


def _binary(op_type: str) -> Callable[[_Site], bool]:
    def write(site: _Site) -> bool:
        if not site.constants(1, 2, 4, 5, 6, 7):
            return False
        return site.quantized(site.compute(op_type, [site.dequantized(0), site.dequantized(3)]), 6)

    return write


def _unary(op_type: str, without: Sequence[str] = ()) -> Callable[[_Site], bool]:
    def write(site: _Site) -> bool:
        if not site.constants(1, 2, 3, 4) or site.node.attributes.get_int("channels_last", 0) != 0:
            return False
        return site.quantized(site.compute(op_type, [site.dequantized(0)], without), 3)

    return write


def _softmax(site: _Site) -> bool:
    """Before opset 13 all axes from ``axis`` on were one, which the operator of today has only for the last."""
    codes, axis = site.input(0), site.node.attributes.get_int("axis", -1)
    shape = codes.shape if codes is not None else None
    last = axis == -1 or (shape is not None and axis == len(shape) - 1)
    if site.node.attributes.get_int("opset", 0) < 13 and not last:
        return False
    return _unary("Softmax", ["opset"])(site)


def _concat(site: _Site) -> bool:
    places = range(2, len(site.node.inputs), 3)
    if not site.constants(0, 1, *(place + offset for place in places for offset in (1, 2))):
        return False
    return site.quantized(site.compute("Concat", [site.dequantized(place) for place in places]), 0)


def _where(site: _Site) -> bool:
    if not site.constants(2, 3, 5, 6, 7, 8):
        return False
    inputs = [site.input(0), site.dequantized(1), site.dequantized(4)]
    return site.quantized(site.compute("Where", inputs), 7)


_STANDARD: dict[str, Callable[[_Site], bool]] = {"QLinearConv": _convolution, "QLinearMatMul": _matmul}
_MICROSOFTS: dict[str, Callable[[_Site], bool]] = {
    "QLinearConv": _convolution,
    "QGemm": _gemm,
    "QLinearAdd": _binary("Add"),
    "QLinearMul": _binary("Mul"),
    "QLinearAveragePool": _unary("AveragePool", ["channels_last"]),
    "QLinearGlobalAveragePool": _unary("GlobalAveragePool", ["channels_last"]),
    "QLinearLeakyRelu": _unary("LeakyRelu"),
    "QLinearSigmoid": _unary("Sigmoid"),
    "QLinearSoftmax": _softmax,
    "QLinearConcat": _concat,
    "QLinearWhere": _where,
}


def spells_out(node: ir.Node) -> bool:
    """Whether ``node`` is an operator on codes that has a float form here."""
    return _spelling(node) is not None


def _spelling(node: ir.Node) -> Callable[[_Site], bool] | None:
    if is_standard(node):
        return _STANDARD.get(node.op_type)
    return _MICROSOFTS.get(node.op_type) if node.domain == _MICROSOFT else None
