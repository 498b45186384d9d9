"""Where half precision loses a result: every node computed in half precision from the float graph's own values.

What a node gets is right but for one rounding, so what it loses is its own doing: an overflow inside it, cancellation,
an argument so large that its rounding is a whole turn of the sine.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import onnx_ir as ir

from benchmarks.accuracy import sqnr_db
from engines.engine import Feed
from optimizer.simulation.extremes import FILL, LARGEST
from optimizer.simulation.float_twin import EXACT, HALF_TYPES, float_twin
from optimizer.simulation.taps import Taps

PRODUCTS = {"Conv", "ConvTranspose", "ConvInteger", "DeformConv", "Gemm", "MatMul", "Einsum", "LSTM", "GRU", "RNN"}
"""Operators that hold the work of a model; their sums are FP32, so that they lose one rounding and no more."""
_FLOAT = ir.DataType.FLOAT


def local_sqnr(
    model: ir.Model, typed: ir.Model, feeds: Sequence[Feed], fills: Collection[str] = ()
) -> dict[str, float]:
    """SQNR in dB of every half-precision node of ``typed`` by its name, where it can lose more than one rounding.

    ``model`` is the graph that was typed. Values beyond ``FILL``, or in tensors named in ``fills`` beyond FP16, are
    left aside: they hide scores, and saturate.
    """
    probe = model.clone()
    taps = Taps(probe)
    names = _add_probes(probe, typed, taps, fills)
    if not names:
        return {}
    float_twin(probe)
    noise, signal = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0)
    with taps.opened() as readings:
        for feed in feeds:
            for (kind, name), value in readings.of(feed).items():
                total = noise if kind == "noise" else signal
                total[name] += value if np.isfinite(value) else np.inf
    return {name: sqnr_db(signal[name], noise[name]) if np.isfinite(noise[name]) else -np.inf for name in names}


def _add_probes(probe: ir.Model, typed: ir.Model, taps: Taps, fills: Collection[str]) -> list[str]:
    references = {node.name: node for node in probe.graph}
    probes = _Probes(probe.graph)
    names = []
    for node in list(typed.graph):
        reference = references.get(node.name)
        if reference is None or not _can_lose(node):
            continue
        copy = probes.copy(node, reference)
        if copy is None:
            continue
        wanted = reference.outputs[0]
        found = taps.do("Cast", copy, to=_FLOAT.value)
        counts = taps.test("Less", taps.do("Abs", wanted), LARGEST / 4 if wanted.name in fills else FILL)
        taps.keep(("noise", str(node.name)), taps.power(taps.where(counts, taps.do("Sub", found, wanted), 0.0)))
        taps.keep(("signal", str(node.name)), taps.power(taps.where(counts, wanted, 0.0)))
        names.append(str(node.name))
    return names


def _can_lose(node: ir.Node) -> bool:
    if node.op_type in EXACT or node.op_type in PRODUCTS or node.op_type in ("QuantizeLinear", "DequantizeLinear"):
        return False
    standard = node.domain in ("", "ai.onnx")
    return standard and bool(node.outputs) and node.outputs[0].dtype in HALF_TYPES


class _Probes:
    """Copies of typed nodes in the graph they were typed from, fed with its values rounded once."""

    def __init__(self, graph: ir.Graph) -> None:
        self._graph = graph
        self._rounded: dict[tuple[ir.Value, ir.DataType], ir.Value] = {}
        self._constants: dict[ir.Value, ir.Value] = {}

    def copy(self, node: ir.Node, reference: ir.Node) -> ir.Value | None:
        inputs: list[ir.Value | None] = []
        for index, value in enumerate(node.inputs):
            if value is None:
                inputs.append(None)
            elif value.const_value is not None and value.is_initializer():
                inputs.append(self._constant(value))
            elif (source := reference.inputs[index]) is not None and value.dtype is not None:
                inputs.append(self._as(source, value.dtype))
            else:
                return None
        made = ir.Node(
            node.domain,
            node.op_type,
            inputs,
            list(node.attributes.values()),
            num_outputs=len(node.outputs),
            name=f"{node.name}/probe",
        )
        for output, typed in zip(made.outputs, node.outputs, strict=True):
            output.name = f"{typed.name}/probe" if typed.name else ""
            output.type, output.shape = typed.type, typed.shape
        self._graph.append(made)
        return made.outputs[0]

    def _as(self, value: ir.Value, dtype: ir.DataType) -> ir.Value:
        if value.dtype == dtype or dtype not in HALF_TYPES:
            return value
        key = (value, dtype)
        if key not in self._rounded:
            cast = ir.node("Cast", [value], {"to": dtype.value}, name=f"{value.name}/probe/{dtype.name}")
            cast.outputs[0].name, cast.outputs[0].type = cast.name, ir.TensorType(dtype)
            cast.outputs[0].shape = value.shape
            self._graph.append(cast)
            self._rounded[key] = cast.outputs[0]
        return self._rounded[key]

    def _constant(self, value: ir.Value) -> ir.Value:
        if value not in self._constants:
            name = f"{value.name}/probe"
            copy = ir.Value(name=name, type=value.type, shape=value.shape, const_value=value.const_value)
            self._graph.register_initializer(copy)
            self._constants[value] = copy
        return self._constants[value]
