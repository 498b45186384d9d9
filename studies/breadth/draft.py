"""A random graph while it is drawn: every node is computed at once, so shapes, types and values are always known.

A node that ONNX Runtime (or, for types it lacks, ``onnx.reference``) does not run is not taken: what a draft holds is a
valid model whose outputs are finite on its own sample.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import ml_dtypes
import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import helper, numpy_helper

Array: TypeAlias = NDArray[Any]
FLOATS = ("float16", "float32", "float64", "bfloat16")
LARGEST = 1 << 15
"""Elements of the largest value: a draft is small, what is tried is the kinds of nodes and not their size."""
WIDTHS = (16, 16, 17, 20, 24, 31, 32, 32, 40, 48)
"""Channels of a wide draft's layers: multiples of the tiles of INT8 kernels, and others."""
_IR_OF_OPSET = ((21, 10), (20, 9), (19, 9), (15, 8), (12, 7), (11, 6), (10, 5), (9, 4), (1, 3))


class Rejected(Exception):
    """This step does not fit the draft: no operand of the kind, or a node that nobody runs."""


@dataclass(frozen=True)
class Value:
    """A tensor of the graph with what it holds for the sample."""

    name: str
    array: Array
    constant: bool = False

    @property
    def is_float(self) -> bool:
        return self.array.dtype.name in FLOATS

    @property
    def rank(self) -> int:
        return self.array.ndim


class Draft:
    """Grows a graph node by node. ``rng`` is the current step's own generator; ``dtype`` that of new weights.

    The layers of a ``wide`` draft have enough channels for INT8 kernels; those of others are a few elements wide.
    """

    def __init__(
        self, opset: int, dtype: Any, rng: np.random.Generator, name: Callable[[str, int], str], wide: bool = False
    ) -> None:
        self.wide = wide
        self.opset, self.dtype, self.rng = opset, np.dtype(dtype), rng
        self.values: list[Value] = []
        self.inputs: list[Value] = []
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, Value] = {}
        self.scale = 1.0
        self._name, self._count = name, 0

    def fresh(self, kind: str) -> str:
        self._count += 1
        return self._name(kind, self._count)

    def input(self, array: Array) -> Value:
        value = Value(self.fresh("input"), array)
        self.inputs.append(value)
        self.values.append(value)
        return value

    def constant(self, array: Any, dtype: Any = None) -> Value:
        """An initializer; floats take the draft's type unless ``dtype`` is given."""
        given = np.asarray(array)
        wanted = np.dtype(dtype) if dtype is not None else self.dtype if given.dtype.kind == "f" else given.dtype
        value = Value(self.fresh("weight"), given.astype(wanted), constant=True)
        self.weights[value.name] = value
        return value

    def weight(self, *shape: int, fan_in: int = 1) -> Value:
        """A normal weight of sane size, or one that is already there: shared, as exporters leave them."""
        alike = [w for w in self.weights.values() if w.array.shape == shape and w.is_float]
        if alike and self.rng.random() < 0.3:
            return alike[int(self.rng.integers(len(alike)))]
        return self.constant(self.rng.normal(size=shape) * self.scale / max(fan_in, 1) ** 0.5)

    def width(self, low: int, high: int) -> int:
        """Output channels of a layer: ``low`` to ``high - 1``, or, of most in a wide draft, 16 to 48."""
        if self.wide and self.chance(0.85):
            return int(self.rng.choice(WIDTHS))
        return int(self.rng.integers(low, high))

    def integers(self, values: Sequence[int]) -> Value:
        return self.constant(np.asarray(values, np.int64))

    def choice(self, options: Sequence[Any]) -> Any:
        return options[int(self.rng.integers(len(options)))]

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def pick(self, *ranks: int, floats: bool = True) -> Value:
        """A value of one of ``ranks`` (any where none is given), the newest most often."""
        fits = [v for v in self.values if v.is_float == floats and (not ranks or v.rank in ranks) and v.array.size]
        if floats:
            fits = [v for v in fits if v.array.dtype == self.dtype]
        if not fits:
            raise Rejected
        return fits[-1] if self.chance(0.6) else self.choice(fits)

    def add(
        self, op: str, inputs: Sequence[Value | None], outputs: int = 1, domain: str = "", **attributes: Any
    ) -> Any:
        """Append a node; returns its value, or a list of values where it has several outputs."""
        names = [self.fresh(op.lower()) for _ in range(outputs)]
        given = [value.name if value is not None else "" for value in inputs]
        node = helper.make_node(op, given, names, name=self.fresh(op), domain=domain, **attributes)
        return self.append(node, [v for v in inputs if v is not None])

    def append(self, node: onnx.NodeProto, operands: Sequence[Value]) -> Any:
        """Append a node made elsewhere (with subgraphs); ``operands`` are all the values it reads."""
        arrays = evaluate(node, {v.name: v.array for v in operands}, self.opset)
        if any(array.size > LARGEST or (_float(array) and not _finite(array)) for array in arrays):
            raise Rejected
        self.nodes.append(node)
        found = [Value(name, array) for name, array in zip([n for n in node.output if n], arrays, strict=True)]
        self.values += found
        return found[0] if len(found) == 1 else found


def evaluate(node: onnx.NodeProto, operands: dict[str, Array], opset: int) -> list[Array]:
    """The node's outputs. Raises ``Rejected`` where neither ONNX Runtime nor onnx.reference computes it."""
    if node.domain == "" and not _known(node.op_type, opset):  # ONNX Runtime knows some operators before the standard
        raise Rejected
    names = [name for name in node.output if name]
    model = single(node, operands, opset)
    try:
        options = ort.SessionOptions()
        options.log_severity_level, options.intra_op_num_threads = 4, 1
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return [np.asarray(found) for found in session.run(names, operands)]
    except Exception:  # ONNX Runtime's errors have no common class but Exception
        if not any(array.dtype == ml_dtypes.bfloat16 for array in operands.values()):
            raise Rejected from None
    try:
        from onnx.reference import ReferenceEvaluator

        with np.errstate(all="ignore"):
            return [np.asarray(found) for found in ReferenceEvaluator(model).run(names, operands)]
    except Exception:
        raise Rejected from None


def _known(op: str, opset: int) -> bool:
    try:
        return not onnx.defs.get_schema(op, opset).deprecated
    except onnx.defs.SchemaError:
        return False


def single(node: onnx.NodeProto, operands: dict[str, Array], opset: int) -> onnx.ModelProto:
    """A model of one node."""
    inputs = [_info(name, array) for name, array in operands.items()]
    outputs = [onnx.ValueInfoProto(name=name) for name in node.output if name]
    return model_of(helper.make_graph([node], "one", inputs, outputs), opset)


def model_of(graph: onnx.GraphProto, opset: int) -> onnx.ModelProto:
    imports = [helper.make_opsetid("", opset)]
    if any(node.domain == "com.microsoft" for node in graph.node):
        imports.append(helper.make_opsetid("com.microsoft", 1))
    version = next(ir for least, ir in _IR_OF_OPSET if opset >= least)
    return helper.make_model(graph, opset_imports=imports, ir_version=version if opset < 22 else 10)


def info(name: str, array: Array, axes: dict[int, str] | None = None) -> onnx.ValueInfoProto:
    """The value's type and shape, with names for the axes that may vary."""
    shape = [(axes or {}).get(axis, size) for axis, size in enumerate(array.shape)]
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), shape)


_info = info


def initializer(value: Value) -> onnx.TensorProto:
    return numpy_helper.from_array(np.ascontiguousarray(value.array).reshape(value.array.shape), value.name)


def _float(array: Array) -> bool:
    return array.dtype.name in FLOATS


def _finite(array: Array) -> bool:
    return bool(np.isfinite(array.astype(np.float64)).all())
