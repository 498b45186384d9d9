"""Where Q/DQ goes for ONNX Runtime's CPU kernels.

ONNX Runtime replaces ``DQ → op → Q`` by an integer kernel, so unlike in TensorRT a convolution's output is quantized
too, behind its ReLU or Clip, and ops between integer ops (Add, pools, Concat, LeakyRelu) are made integer so that a
chain never leaves int8. A product whose result is read in float (transformers, heads) keeps a float output: ONNX
Runtime has an integer-to-float kernel for MatMul and Gemm. Source: onnxruntime's QDQ selectors and actions
(``core/optimizer/qdq_transformer``), and timings on x86 with VNNI.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from calibration.table import CalibrationTable
from optimizer.precision import Dtype, NodePrecision, PrecisionPlan
from optimizer.quantization.codes.scheme import Scheme
from optimizer.quantization.placement.insertion_points import ActivationPoint, Placement, Use
from optimizer.quantization.placement.place import place
from optimizer.quantization.rules.catalogue import Rule
from optimizer.quantization.rules.commuting import data_inputs

_ABSORBED = frozenset({"Relu", "Clip"})
_SAME_SCALE = frozenset({"MaxPool", "Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Slice"})
_OWN_SCALE = frozenset({"Add", "Concat", "AveragePool", "GlobalAveragePool", "LeakyRelu"})
_SHRINKING = frozenset({"GlobalAveragePool"})
"""Ops that leave so little that dequantizing behind them is cheaper than before them, whoever reads it."""


def place_for_cpu(
    model: ir.Model,
    *,
    scheme: Scheme,
    keep_float: Mapping[str, str],
    costs: Mapping[str, int] | None = None,
    table: CalibrationTable | None = None,
    float_results: frozenset[str] = frozenset(),
) -> Placement:
    """A placement of ``model`` in a ``scheme`` whose results are integer. Arguments and guards as for ``place``.

    ``float_results`` names convolutions whose result is not to be rounded.
    """
    rigid = _without_integer_kernel(model.graph)
    base = place(
        model,
        scheme=scheme,
        keep_float={**rigid, **keep_float},
        costs=costs,
        table=table,
        high_precision=Dtype.FP32,
    )
    return _Chains(model.graph, base, table, float_results, keep_float).place()


def _without_integer_kernel(graph: ir.Graph) -> dict[str, str]:
    """Transposed convolutions, and those whose output is a graph output: their kernel would quantize the result."""
    rigid = {}
    for node in graph:
        if node.op_type == "Conv" and _end_of_chain(node).is_graph_output():
            rigid[str(node.name)] = Rule.GRAPH_OUTPUT.reason("its integer kernel would quantize a graph output")
        elif node.op_type == "ConvTranspose":
            rigid[str(node.name)] = Rule.KEEP_FLOAT.reason("ONNX Runtime has no integer kernel for it")
    return rigid


def _end_of_chain(node: ir.Node) -> ir.Value:
    """The op's output, or that of the ReLU or Clip that ONNX Runtime absorbs into the following Q."""
    value = node.outputs[0]
    uses = tuple(value.uses())
    if len(uses) == 1 and not value.is_graph_output() and uses[0].node.op_type in _ABSORBED and uses[0].idx == 0:
        return uses[0].node.outputs[0]
    return value


def _shrinks(node: ir.Node) -> bool:
    """Whether an integer chain may end in ``node``, which nothing integer reads."""
    return node.op_type in _SHRINKING and not node.outputs[0].is_graph_output()


class _Chains:
    """Extends the points on inputs of weighted ops to their outputs and to the ops in between."""

    def __init__(
        self,
        graph: ir.Graph,
        base: Placement,
        table: CalibrationTable | None,
        float_results: frozenset[str],
        keep_float: Mapping[str, str],
    ) -> None:
        self._graph, self._base, self._table, self._keep = graph, base, table, keep_float
        self._integer = {use.node for weight in base.weights for use in weight.uses}
        values = {str(v.name): v for v in graph.inputs} | {str(v.name): v for n in graph for v in n.outputs}
        self._wanted = {values[point.tensor] for point in base.activations}
        self._quantized: dict[ir.Value, tuple[Rule, str]] = {
            values[point.tensor]: (point.rule, "") for point in base.activations
        }
        self._added: dict[str, str] = {}
        self._made_integer: set[ir.Value] = set()
        self._float_results = float_results & self._integer
        self._results: dict[str, ir.Value] = {}

    def place(self) -> Placement:
        for node in self._graph:
            if node.op_type == "Conv" and node.name in self._integer - self._float_results:
                self._results[str(node.name)] = _end_of_chain(node)
                self._mark(_end_of_chain(node), Rule.EVERY_WEIGHTED_INPUT)
        for node in self._graph:
            self._between(node)
        tensors = dict.fromkeys([*self._base.tensors, *(self._range_of(value) for value in self._quantized)])
        return Placement(
            self._base.scheme,
            self._points(),
            self._base.weights,
            self._plan(),
            tuple(tensors),
            self._base.notes,
            results={node: str(value.name) for node, value in self._results.items() if self._read_in_float(value)},
            float_results=self._float_results,
            rounded=frozenset(str(value.name) for value in self._made_integer),
        )

    def _read_in_float(self, value: ir.Value) -> bool:
        """Whether a float op reads what an integer kernel rounded, as it is or moved."""
        if value.is_graph_output():
            return False
        for node in value.consumers():
            if node.op_type in _SAME_SCALE and node.name in self._added:
                if self._read_in_float(node.outputs[0]):
                    return True
            elif node.name not in self._integer and node.name not in self._added:
                return True
        return False

    def _mark(self, value: ir.Value, rule: Rule) -> None:
        if not value.is_graph_output():
            self._quantized.setdefault(value, (rule, ""))
            self._made_integer.add(value)

    def _range_of(self, value: ir.Value) -> str:
        return self._quantized[value][1] or str(value.name)

    def _between(self, node: ir.Node) -> None:
        """An op whose data inputs are all integer joins the chain when something integer reads on."""
        if node.op_type not in _SAME_SCALE | _OWN_SCALE or node.name in self._integer or node.name in self._keep:
            return
        inputs = data_inputs(node) if node.op_type != "Add" else [v for v in node.inputs if v is not None]
        if not inputs or not all(value in self._quantized for value in inputs):
            return
        same = node.op_type in _SAME_SCALE
        output = node.outputs[0] if same else _end_of_chain(node)
        if output.is_graph_output() or not (_shrinks(node) or self._read_by_integer(output)):
            return
        self._added[str(node.name)] = Rule.COMMUTING_OPS.reason("between integer ops")
        if same:
            self._quantized[output] = (Rule.COMMUTING_OPS, self._range_of(inputs[0]))
            self._made_integer.add(output)
        else:
            self._mark(output, Rule.BOTH_OR_NEITHER)

    def _read_by_integer(self, value: ir.Value) -> bool:
        pending, seen = [value], set()
        while pending:
            current = pending.pop()
            if current in self._wanted or any(_shrinks(node) for node in current.consumers()):
                return True
            if current not in seen:
                seen.add(current)
                chain = _SAME_SCALE | _OWN_SCALE | _ABSORBED
                pending.extend(out for node in current.consumers() if node.op_type in chain for out in node.outputs)
        return False

    def _points(self) -> tuple[ActivationPoint, ...]:
        order = {value: i for i, value in enumerate(v for n in self._graph for v in n.outputs)}
        values = sorted(self._quantized, key=lambda value: order.get(value, -1))
        return tuple(
            ActivationPoint(
                str(value.name),
                self._uses(value),
                self._quantized[value][0],
                self._base.scheme.static,
                self._quantized[value][1],
            )
            for value in values
        )

    def _uses(self, value: ir.Value) -> tuple[Use, ...]:
        """Who reads ``value`` dequantized: all where an integer kernel makes it, for then it exists in no other form;
        else the integer ops alone, so that a residual sum beside them stays what it was.
        """
        readers = [use for use in value.uses() if use.node.graph is self._graph]
        if value not in self._made_integer:
            readers = [use for use in readers if use.node.name in self._integer or use.node.name in self._added]
        return tuple(Use(str(use.node.name), use.idx) for use in readers)

    def _plan(self) -> PrecisionPlan:
        nodes = dict(self._base.plan.nodes)
        for name, reason in self._added.items():
            nodes[name] = NodePrecision(Dtype.INT8, reason, nodes[name].op_type, nodes[name].macs)
        return PrecisionPlan(nodes)
