"""Where half precision loses a result: every node computed in half precision from the float graph's own values.

What a node gets is right but for one rounding, so what it loses is its own doing: an overflow inside it, cancellation,
an argument so large that its rounding is a whole turn of the sine. A node kept in FP32 is looked at too where what it
reads was computed in half precision.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import onnx_ir as ir

from benchmarks.accuracy.compare import sqnr_db
from engines.engine import Feed
from graphs.reading.operators import is_standard
from graphs.reading.weighted import FLOAT_PRODUCTS, INTEGER_PRODUCTS
from graphs.writing.edits import GraphEdits
from optimizer.simulation.extremes import FILL, LARGEST
from optimizer.simulation.float_twin import EXACT, HALF_TYPES, float_twin
from optimizer.simulation.readings import ScalarTaps, opened

PRODUCTS = FLOAT_PRODUCTS | INTEGER_PRODUCTS
"""Their sums are FP32, so that they lose one rounding and no more."""
_FLOAT = ir.DataType.FLOAT


def local_sqnr(
    model: ir.Model, typed: ir.Model, feeds: Sequence[Feed], fills: Collection[str] = ()
) -> dict[str, float]:
    """SQNR in dB of every node of ``typed`` in half precision, or fed from it, by its name, where it can lose more than
    one rounding.

    ``model`` is the graph that was typed. Values beyond ``FILL``, or in tensors named in ``fills`` beyond FP16, are
    left aside: they hide scores, and saturate.
    """
    probe = model.clone()
    taps = ScalarTaps(probe)
    names = _add_probes(probe, typed, taps, fills)
    if not names:
        return {}
    float_twin(probe)
    noise, signal = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0)
    with opened(taps) as readings:
        for feed in feeds:
            for (kind, name), value in readings.of(feed).items():
                total = noise if kind == "noise" else signal
                total[name] += value if np.isfinite(value) else np.inf
    return {name: sqnr_db(signal[name], noise[name]) if np.isfinite(noise[name]) else -np.inf for name in names}


def _add_probes(probe: ir.Model, typed: ir.Model, taps: ScalarTaps, fills: Collection[str]) -> list[str]:
    references = {node.name: node for node in probe.graph}
    probes = _Probes(probe.graph, references)
    names = []
    for node in list(typed.graph):
        reference = references.get(node.name)
        if reference is None or not _can_lose(node, references):
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


def _can_lose(node: ir.Node, references: Mapping[str | None, ir.Node]) -> bool:
    if node.op_type in EXACT or node.op_type in PRODUCTS or node.op_type in ("QuantizeLinear", "DequantizeLinear"):
        return False
    if not is_standard(node) or not node.outputs:
        return False
    fed = any(value is not None and _half_behind(value, references) for value in node.inputs)
    return node.outputs[0].dtype in HALF_TYPES or (node.outputs[0].dtype == _FLOAT and fed)


def _half_behind(value: ir.Value, references: Mapping[str | None, ir.Node]) -> tuple[ir.DataType, float] | None:
    """The half type that an FP32 value was computed in, and what it was multiplied by since, where that was all that
    typing put between: a Cast, and the factor of a scaled product.
    """
    factor = 1.0
    while (made := value.producer()) is not None and made.name not in references and made.op_type in ("Cast", "Mul"):
        if made.op_type == "Mul":
            constant = made.inputs[1].const_value if made.inputs[1] is not None else None
            if constant is None or constant.size != 1:
                return None
            factor *= float(constant.numpy().reshape(-1)[0])
        source = made.inputs[0]
        if source is None:
            return None
        if source.dtype in HALF_TYPES:
            return source.dtype, factor
        value = source
    return None


class _Probes:
    """Copies of typed nodes in the graph they were typed from, fed with its values rounded once."""

    def __init__(self, graph: ir.Graph, references: Mapping[str | None, ir.Node]) -> None:
        self._edits, self._references = GraphEdits(graph), references
        self._rounded: dict[tuple[ir.Value, ir.DataType], ir.Value] = {}
        self._through: dict[tuple[ir.Value, ir.DataType, float], ir.Value] = {}
        self._constants: dict[ir.Value, ir.Value] = {}

    def copy(self, node: ir.Node, reference: ir.Node) -> ir.Value | None:
        inputs: list[ir.Value | None] = []
        for index, value in enumerate(node.inputs):
            if value is None:
                inputs.append(None)
            elif value.const_value is not None and value.is_initializer():
                inputs.append(self._constant(value))
            elif (source := reference.inputs[index]) is not None and value.dtype is not None:
                behind = _half_behind(value, self._references)
                inputs.append(self._passed(source, *behind) if behind else self._as(source, value.dtype))
            else:
                return None
        made = ir.Node(
            node.domain,
            node.op_type,
            inputs,
            list(node.attributes.values()),
            num_outputs=len(node.outputs),
            name=self._edits.names.node(f"{node.name}/probe"),
        )
        for output, typed in zip(made.outputs, node.outputs, strict=True):
            output.name = self._edits.names.value(f"{typed.name}/probe") if typed.name else ""
            output.type, output.shape = typed.type, typed.shape
        self._edits.graph.append(made)
        return made.outputs[0]

    def _as(self, value: ir.Value, dtype: ir.DataType) -> ir.Value:
        if value.dtype == dtype or dtype not in HALF_TYPES:
            return value
        key = (value, dtype)
        if key not in self._rounded:
            name = f"{value.name}/probe/{dtype.name}"
            self._rounded[key] = self._added("Cast", [value], name, dtype, {"to": dtype.value})
        return self._rounded[key]

    def _passed(self, value: ir.Value, dtype: ir.DataType, factor: float) -> ir.Value:
        """``value`` through ``dtype`` and back to FP32, in units of ``factor``."""
        key = (value, dtype, factor)
        if key not in self._through:
            stem = f"{value.name}/probe/{dtype.name}/{factor:g}"
            scaled = self._times(value, 1 / factor, f"{stem}/down")
            wide = self._added("Cast", [self._as(scaled, dtype)], stem, _FLOAT, {"to": _FLOAT.value})
            self._through[key] = self._times(wide, factor, f"{stem}/up")
        return self._through[key]

    def _times(self, value: ir.Value, factor: float, name: str) -> ir.Value:
        if factor == 1.0:
            return value
        by = self._edits.constant(f"{name}/by", np.float32(factor))
        return self._added("Mul", [value, by], name, _FLOAT)

    def _added(
        self,
        op_type: str,
        inputs: Sequence[ir.Value],
        name: str,
        dtype: ir.DataType,
        attributes: Mapping[str, int] | None = None,
    ) -> ir.Value:
        """The output, in the shape of the first input, of an operator behind everything else."""
        node = self._edits.node(op_type, inputs, name, name, dtype, inputs[0].shape, attributes)
        self._edits.graph.append(node)
        return node.outputs[0]

    def _constant(self, value: ir.Value) -> ir.Value:
        if value not in self._constants:
            name = self._edits.names.value(f"{value.name}/probe")
            copy = ir.Value(name=name, type=value.type, shape=value.shape, const_value=value.const_value)
            self._edits.graph.register_initializer(copy)
            self._constants[value] = copy
        return self._constants[value]
