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
from graphs.domains import is_standard
from graphs.weighted import FLOAT_PRODUCTS, INTEGER_PRODUCTS
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
        self._graph, self._references = graph, references
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

    def _passed(self, value: ir.Value, dtype: ir.DataType, factor: float) -> ir.Value:
        """``value`` through ``dtype`` and back to FP32, in units of ``factor``."""
        key = (value, dtype, factor)
        if key not in self._through:
            stem = f"{value.name}/probe/{dtype.name}/{factor:g}"
            scaled = self._times(value, 1 / factor, f"{stem}/down")
            self._through[key] = self._times(self._cast(self._as(scaled, dtype), stem), factor, f"{stem}/up")
        return self._through[key]

    def _cast(self, value: ir.Value, name: str) -> ir.Value:
        return self._added(ir.node("Cast", [value], {"to": _FLOAT.value}, name=name), value.shape)

    def _times(self, value: ir.Value, factor: float, name: str) -> ir.Value:
        if factor == 1.0:
            return value
        by = ir.Value(name=f"{name}/by", type=ir.TensorType(_FLOAT), const_value=ir.Tensor(np.float32(factor)))
        by.shape = ir.Shape([])
        self._graph.register_initializer(by)
        return self._added(ir.node("Mul", [value, by], name=name), value.shape)

    def _added(self, node: ir.Node, shape: ir.Shape | None) -> ir.Value:
        output = node.outputs[0]
        output.name, output.type, output.shape = node.name, ir.TensorType(_FLOAT), shape
        self._graph.append(node)
        return output

    def _constant(self, value: ir.Value) -> ir.Value:
        if value not in self._constants:
            name = f"{value.name}/probe"
            copy = ir.Value(name=name, type=value.type, shape=value.shape, const_value=value.const_value)
            self._graph.register_initializer(copy)
            self._constants[value] = copy
        return self._constants[value]
