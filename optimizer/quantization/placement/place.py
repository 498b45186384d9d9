"""Where Q/DQ goes: the placement rules applied to a whole graph, giving every node a dtype and a reason.

Two steps. ``candidates`` runs on structure alone and names the tensors calibration must measure; ``place`` with the
resulting table applies the guards that need ranges and settles the placement.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeAlias

import onnx_ir as ir

from calibration.table import CalibrationTable
from graphs.reading.weighted import WeightedOp, is_weighted
from optimizer.passes.spelling_out.unroll_step import RECURRENT
from optimizer.precision import Dtype, NodePrecision, PrecisionPlan
from optimizer.quantization.codes.scheme import TENSORRT, ActivationScheme, Scheme, WeightScheme
from optimizer.quantization.placement.insertion_points import ActivationPoint, Placement, Use, WeightPoint
from optimizer.quantization.rules import commuting, floats, guards
from optimizer.quantization.rules.catalogue import Rule
from optimizer.quantization.rules.formats import unfit
from optimizer.quantization.rules.residual import depths, skip_input
from optimizer.quantization.rules.weighted import weighted_op

_Key: TypeAlias = "tuple[ir.Value, ActivationScheme]"
_FLOATS = (ir.DataType.FLOAT, ir.DataType.FLOAT16)


def candidates(model: ir.Model, scheme: Scheme, keep_float: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Names of the activations whose ranges ``place`` will want, in graph order of their first reader."""
    return place(model, scheme=scheme, keep_float=keep_float or {}).tensors


def place(
    model: ir.Model,
    *,
    scheme: Scheme,
    keep_float: Mapping[str, str],
    costs: Mapping[str, int] | None = None,
    table: CalibrationTable | None = None,
    high_precision: Dtype = Dtype.FP16,
    formats: Mapping[str, Scheme] | None = None,
) -> Placement:
    """Decide every Q/DQ of ``model``'s main graph; bodies of If and Loop stay in high precision.

    ``keep_float`` maps node names to the reason they must not be integer; ``costs`` are MACs per sample for the plan.
    ``formats`` maps names of weighted nodes to a scheme of their own in place of ``scheme``: some nodes in FP8, some in
    INT8, some with INT4 weights (``formats.formats_of`` says which a node can take). A tensor that is read in two
    formats gets two pairs. Nodes need unique names. Changes nothing.
    """
    return _Placer(model.graph, scheme, keep_float, costs or {}, table, high_precision, formats or {}).place()


class _Placer:
    def __init__(
        self,
        graph: ir.Graph,
        scheme: Scheme,
        keep_float: Mapping[str, str],
        costs: Mapping[str, int],
        table: CalibrationTable | None,
        high: Dtype,
        formats: Mapping[str, Scheme],
    ) -> None:
        self._graph, self._scheme, self._keep, self._costs = graph, scheme, keep_float, costs
        self._table, self._high, self._formats = table, high, formats
        self._depths = depths(graph)
        self._ops: dict[ir.Node, WeightedOp] = {}
        self._why: dict[ir.Node, str] = {}
        self._integer: set[ir.Node] = set()
        self._format: dict[ir.Node, Scheme] = {}
        self._points: dict[_Key, tuple[Rule, list[Use]]] = {}
        self._integers: dict[ir.Value, ActivationScheme] = {}
        """What is quantized to whole numbers: what TensorRT moves Q and DQ through, and fuses a skip of."""
        self._in_integers = scheme if scheme.calibrated and scheme.static.numbers.whole else TENSORRT
        self._watched: dict[str, None] = {}

    def place(self) -> Placement:
        for node in self._graph:
            if is_weighted(node):
                self._weighted(node)
        for node in self._graph:
            self._residual(node)
        for node in self._graph:
            self._pool(node)
        return Placement(self._scheme, self._activations(), self._weights(), self._plan(), tuple(self._watched))

    def _weighted(self, node: ir.Node) -> None:
        """Rules 2, 3, 11: data and weight of every op worth it."""
        if node.name in self._keep:
            self._why[node] = self._keep[str(node.name)]
            return
        if RECURRENT in node.metadata_props:
            self._why[node] = Rule.KEEP_FLOAT.reason("recurrent product, its error feeds back into the state")
            return
        found, data = weighted_op(node), node.inputs[0]
        scheme = self._formats.get(str(node.name), self._scheme)
        if isinstance(found, str) or data is None:
            self._why[node] = found if isinstance(found, str) else Rule.EVERY_WEIGHTED_INPUT.reason("no data input")
            return
        if refusal := unfit(found, scheme) or (self._refuse(data) if not scheme.weight_only else ""):
            self._why[node] = refusal
            return
        self._ops[node] = found
        self._in_format(node, scheme)
        if scheme.activations is None:
            self._why[node] = Rule.WEIGHTS_ALONE.reason()
            return
        self._why[node] = Rule.EVERY_WEIGHTED_INPUT.reason()
        self._point(data, node, 0, Rule.EVERY_WEIGHTED_INPUT, scheme.activations)

    def _in_format(self, node: ir.Node, scheme: Scheme) -> None:
        self._integer.add(node)
        self._format[node] = scheme

    def _residual(self, node: ir.Node) -> None:
        """Rules 6 and 13: the skip input of an Add that an integer conv fuses, if something integer reads the sum."""
        if node.op_type != "Add" or node.name in self._keep:
            return
        skip = skip_input(node, self._is_integer_conv, lambda value: self._depths.get(value, 0))
        if skip is None or not self._feeds_integer(node.outputs[0]):
            return
        value = node.inputs[skip]
        assert value is not None
        if self._refuse(value):
            return
        self._in_format(node, self._in_integers)
        self._why[node] = Rule.RESIDUAL_ADD.reason(f"skip is {value.name!r}")
        self._point(value, node, skip, Rule.RESIDUAL_ADD, self._in_integers.static)

    def _pool(self, node: ir.Node) -> None:
        """Rule 7: an averaging pool is integer only where its input is quantized for another reader anyway."""
        if node.op_type not in commuting.AVERAGING or node.name in self._keep:
            return
        value = node.inputs[0]
        if value is not None and value in self._integers and self._feeds_integer(node.outputs[0]):
            self._in_format(node, self._in_integers)
            self._why[node] = Rule.COMMUTING_OPS.reason("pool between integer neighbours")
            self._point(value, node, 0, Rule.COMMUTING_OPS, self._integers[value])

    def _is_integer_conv(self, node: ir.Node) -> bool:
        return self._format.get(node) is self._in_integers and node.op_type in ("Conv", "ConvTranspose")

    def _feeds_integer(self, value: ir.Value) -> bool:
        """Whether some reader, through activations and value-moving ops, takes ``value`` in int8."""
        pending, seen = [value], set()
        while pending:
            current = pending.pop()
            if current in self._integers:
                return True
            if current in seen:
                continue
            seen.add(current)
            for node in current.consumers():
                if node.op_type in floats.EPILOGUES or node.op_type == "Add" or commuting.moves_values(node):
                    pending.extend(node.outputs)
        return False

    def _refuse(self, value: ir.Value) -> str:
        """The guards' verdict on quantizing ``value``; always watches what the guards will want to know."""
        if value.dtype is not None and value.dtype not in _FLOATS:
            return Rule.EVERY_WEIGHTED_INPUT.reason(f"its data is {value.dtype.name.lower()}")
        if value.const_value is not None:
            return Rule.EVERY_WEIGHTED_INPUT.reason("its data is a constant")
        for watched in (value, *guards.guard_tensors(value)):
            if watched.const_value is None and watched.name:
                self._watched.setdefault(watched.name)
        return guards.refuse(value, self._table) if self._table is not None else ""

    def _point(self, value: ir.Value, node: ir.Node, index: int, rule: Rule, codes: ActivationScheme) -> None:
        self._points.setdefault((value, codes), (rule, []))[1].append(Use(str(node.name), index))
        if codes.numbers.whole and not codes.block:
            self._integers[value] = codes

    def _activations(self) -> tuple[ActivationPoint, ...]:
        return tuple(
            ActivationPoint(str(value.name), tuple(uses), rule, codes)
            for (value, codes), (rule, uses) in self._points.items()
        )

    def _weights(self) -> tuple[WeightPoint, ...]:
        """One point per (tensor, axis, form), so that a weight read by several ops is stored once."""
        shared: dict[tuple[str, int, WeightScheme], list[Use]] = {}
        for node, op in self._ops.items():
            key = str(op.weight.name), op.axis, self._format[node].weights
            shared.setdefault(key, []).append(Use(str(node.name), 1))
        return tuple(WeightPoint(name, axis, tuple(uses), codes) for (name, axis, codes), uses in shared.items())

    def _plan(self) -> PrecisionPlan:
        return PrecisionPlan({str(node.name): self._precision(node) for node in self._all_nodes()})

    def _all_nodes(self) -> Iterator[ir.Node]:
        yield from ir.traversal.RecursiveGraphIterator(self._graph)

    def _precision(self, node: ir.Node) -> NodePrecision:
        cost = self._costs.get(str(node.name), 0)
        if node in self._integer:
            return NodePrecision(self._format[node].dtype, self._why[node], node.op_type, cost)
        if commuting.moves_values(node) and self._reads_only_integer(node):
            return NodePrecision(Dtype.INT8, Rule.COMMUTING_OPS.reason("Q moves back through it"), node.op_type, cost)
        return NodePrecision(self._high, self._float_reason(node), node.op_type, cost)

    def _reads_only_integer(self, node: ir.Node) -> bool:
        users = [user for output in node.outputs for user in output.uses()]
        return bool(users) and all(
            value in self._integers
            and any(u.node == use.node.name for u in self._points[value, self._integers[value]][1])
            for value in node.outputs
            for use in value.uses()
        )

    def _float_reason(self, node: ir.Node) -> str:
        if node.name in self._keep:
            return self._keep[str(node.name)]
        if node in self._why:
            return self._why[node]
        if node.graph is not self._graph:
            return Rule.KEEP_FLOAT.reason("inside a control-flow branch")
        if node.op_type in floats.EPILOGUES and self._producer_is_integer(node):
            return Rule.NO_OUTPUT_QUANTIZATION.reason("fused into the integer op before it")
        return floats.float_reason(node)

    def _producer_is_integer(self, node: ir.Node) -> bool:
        producer = node.inputs[0].producer() if node.inputs and node.inputs[0] is not None else None
        return producer in self._integer
