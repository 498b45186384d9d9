"""Products whose sums, operands or weights leave FP16's range, at either end, scaled by powers of two so that they
compute in FP16.

``y = x w`` becomes ``y = 2^(a+b) ((2^-a x) (2^-b w))``, exactly: tensor cores do the product in FP16 and only the two
factors around it are FP32. Weights, the scales of quantized operands and the bias take their factor at once.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import replace

import numpy as np
import onnx_ir as ir

from graphs.reading.constants import constant_tensor, input_at
from graphs.reading.number_types import CODE_MAX, SMALLEST_SCALE
from graphs.reading.weighted import is_weighted
from graphs.writing.edits import GraphEdits, dtype_of
from graphs.writing.lazy_tensors import lazily
from optimizer.passes.base import PassResult
from optimizer.passes.half_precision.ranges import LARGEST_OBSERVED, SMALLEST_NORMAL, largest_finite, observed_size
from optimizer.simulation.extremes import Extremes

_FLOAT = ir.DataType.FLOAT
SMALL_DATA = (CODE_MAX + 1) * SMALLEST_SCALE
"""Data that reaches no further has scales that FP16 does not hold, and digits fewer than FP16's."""


class ScaleProducts:
    """Scales every product that ``extremes`` shows to overflow FP16, or whose data or weight vanishes there, in place,
    but for those named in ``keep``, which stay FP32; afterwards ``extremes`` covers what was added."""

    name = "scale products into the range of FP16"

    def __init__(self, extremes: Extremes, keep: Collection[str] = ()) -> None:
        self.extremes, self._keep = extremes, keep
        self._largest = dict(extremes.largest)
        self._within = dict(extremes.within)
        self._scaled: dict[tuple[ir.Value, int], ir.Value] = {}
        self._edits: GraphEdits

    def apply(self, model: ir.Model) -> PassResult:
        notes, self._edits = [], GraphEdits(model.graph)
        for node in list(model.graph):
            candidate = is_weighted(node) and node.name not in self._keep
            if candidate and self._scale(node):
                notes.append(f"{node.name}: computed at a power of two of its size, beyond which FP16 does not reach")
        self.extremes = replace(self.extremes, largest=self._largest, within=self._within)
        return PassResult(len(notes), tuple(notes))

    def _scale(self, node: ir.Node) -> bool:
        data, weight, output = node.inputs[0], node.inputs[1], node.outputs[0]
        if data is None or weight is None or data.dtype != _FLOAT or output.dtype != _FLOAT:
            return False
        sizes = [self._size(value) for value in (data, weight)]
        reached = max(observed_size(output, self._largest), self._within.get(str(node.name), 0.0))
        tiny = _is_weight(weight) and 0 < sizes[1] < SMALLEST_NORMAL
        faint = 0 < sizes[0] < SMALL_DATA
        if max(*sizes, reached) <= LARGEST_OBSERVED and not tiny and not faint:
            return False
        if not all(map(math.isfinite, (*sizes, reached))):
            return False
        bias = input_at(node, 2)
        if bias is not None and not _is_weight(bias):
            return False
        shifts = [_shift(size) for size in sizes]
        if faint:
            shifts[0] = math.frexp(sizes[0])[1]
        if tiny:
            shifts[1] = math.frexp(sizes[1])[1]  # to between a half and one
        if reached:
            shifts[1] = max(shifts[1], (_least_shift(reached) if tiny or faint else _shift(reached)) - shifts[0])
        if not any(shifts) or (tiny and math.ldexp(sizes[1], -shifts[1]) < SMALLEST_NORMAL):
            return False
        self._rewrite(node, shifts, sizes, reached)
        return True

    def _size(self, value: ir.Value) -> float:
        tensor = constant_tensor(value) if value.is_initializer() else None
        if tensor is None or tensor.dtype != _FLOAT:
            return observed_size(value, self._largest)
        return largest_finite(tensor.numpy())

    def _rewrite(self, node: ir.Node, shifts: list[int], sizes: list[float], reached: float) -> None:
        total = sum(shifts)
        for index, (shift, size) in enumerate(zip(shifts, sizes, strict=True)):
            if shift:
                before = node.inputs[index]
                node.replace_input_with(index, self._times(node, index, -shift, size))
                _drop_unread(before)
        bias = input_at(node, 2)
        if bias is not None:
            node.replace_input_with(2, self._times(node, 2, -total, 0.0))
        self._within[str(node.name)] = math.ldexp(self._within.get(str(node.name), 0.0), -total)
        self._restore(node, total, reached)

    def _times(self, node: ir.Node, index: int, power: int, size: float) -> ir.Value:
        """Input ``index`` times ``2^power``."""
        value = node.inputs[index]
        assert value is not None and node.graph is not None
        if _is_weight(value):
            return self._scaled_weight(value, power)
        key = (value, power)
        if key not in self._scaled:
            self._scaled[key] = self._scaled_activation(value, node, index, power)
            self._largest[str(self._scaled[key].name)] = math.ldexp(size, power)
        return self._scaled[key]

    def _scaled_activation(self, value: ir.Value, node: ir.Node, index: int, power: int) -> ir.Value:
        dequantize = value.producer()
        if dequantize is None or dequantize.op_type != "DequantizeLinear" or not constant_tensor(dequantize.inputs[1]):
            return self._multiplied(value, node, index, power)
        codes = dequantize.inputs[0]
        quantize = codes.producer() if codes is not None else None
        scale = self._scaled_weight(dequantize.inputs[1], power)
        if quantize is None or quantize.op_type != "QuantizeLinear" or quantize.inputs[0] is None:
            return self._like(dequantize, [codes, scale, *dequantize.inputs[2:]], power)
        # the same codes: data and scale take the factor together, so that Q and DQ stay a pair
        data = self._multiplied(quantize.inputs[0], quantize, 0, power)
        self._largest[str(data.name)] = math.ldexp(observed_size(quantize.inputs[0], self._largest), power)
        codes = self._like(quantize, [data, scale, *quantize.inputs[2:]], power)
        return self._like(dequantize, [codes, scale, *dequantize.inputs[2:]], power)

    def _restore(self, node: ir.Node, power: int, reached: float) -> None:
        output, graph = node.outputs[0], node.graph
        assert graph is not None
        factor = self._factor(node, "unscale", power)
        back = ir.node("Mul", [output, factor], name=self._edits.names.node(f"{node.name}/unscaled"))
        result = back.outputs[0]
        result.type, result.shape = output.type, output.shape
        graph.insert_after(node, [back])
        for user, index in list(output.uses()):
            if user is not back:
                user.replace_input_with(index, result)
        if output.is_graph_output():
            for position, value in enumerate(graph.outputs):
                if value is output:
                    graph.outputs[position] = result
        name = str(output.name)
        output.name, result.name = self._edits.names.value(f"{name}/scaled"), name
        self._largest[output.name] = math.ldexp(reached, -power)

    def _scaled_weight(self, value: ir.Value | None, power: int) -> ir.Value:
        assert value is not None
        tensor = constant_tensor(value)
        assert tensor is not None
        return self._edits.within(value.graph).initializer(
            lazily(lambda array: np.ldexp(array, power), tensor, f"{value.name}/scaled")
        )

    def _factor(self, node: ir.Node, stem: str, power: int) -> ir.Value:
        factor = np.float32(math.ldexp(1.0, power))
        return self._edits.within(node.graph).constant(f"{node.outputs[0].name}/{stem}", factor)

    def _like(self, node: ir.Node, inputs: list[ir.Value | None], power: int) -> ir.Value:
        """The output of a copy of ``node`` with other inputs, right behind it."""
        graph, old, names = node.graph, node.outputs[0], self._edits.names
        assert isinstance(graph, ir.Graph)
        name = names.node(f"{node.name}/times 2^{power}")
        made = ir.Node("", node.op_type, inputs, list(node.attributes.values()), name=name)
        output = made.outputs[0]
        output.name, output.type, output.shape = names.value(f"{old.name}/times 2^{power}"), old.type, old.shape
        graph.insert_after(node, [made])
        return output

    def _multiplied(self, value: ir.Value, node: ir.Node, index: int, power: int) -> ir.Value:
        assert node.graph is not None
        name, factor = f"{node.name}/input {index} times 2^{power}", self._factor(node, f"scale{index}", power)
        made = self._edits.node("Mul", [value, factor], name, name, dtype_of(value), value.shape)
        node.graph.insert_before(node, [made])
        return made.outputs[0]


def _shift(size: float) -> int:
    """The power of two that ``size`` has to be divided by to be half of what may be observed; 0 where it fits."""
    return max(0, _least_shift(size)) if size > LARGEST_OBSERVED else 0


def _least_shift(size: float) -> int:
    """The same where ``size`` may be multiplied as well."""
    return math.ceil(math.log2(size / LARGEST_OBSERVED)) + 1


def _is_weight(value: ir.Value) -> bool:
    tensor = constant_tensor(value)
    return tensor is not None and tensor.dtype == _FLOAT and value.is_initializer()


def _drop_unread(value: ir.Value | None) -> None:
    """Forget a quantized operand that nobody reads any more."""
    producer = value.producer() if value is not None else None
    if value is None or producer is None or value.uses() or value.is_graph_output() or producer.graph is None:
        return
    if producer.op_type in ("DequantizeLinear", "QuantizeLinear"):
        before = producer.inputs[0]
        producer.graph.remove(producer, safe=True)
        _drop_unread(before)
