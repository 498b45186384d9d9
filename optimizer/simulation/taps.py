"""Numbers about the tensors of a graph, taken inside the runtime: each tap leaves one scalar per run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx_ir as ir

from engines.engine import Feed
from engines.onnxruntime.engine import OnnxRuntimeEngine
from graphs.saving import stored

_BOOL, _FLOAT = ir.DataType.BOOL, ir.DataType.FLOAT


class Taps:
    """Puts reductions into ``model``, whose only outputs they become. ``key`` is what their results are known by."""

    def __init__(self, model: ir.Model) -> None:
        self._model = model
        self._count = len(model.graph)  # a graph may be tapped again: names stay unique
        self._outputs: dict[tuple[str, str], ir.Value] = {}
        self._numbers: dict[float, ir.Value] = {}

    def keep(self, key: tuple[str, str], value: ir.Value) -> None:
        """Read the scalar ``value`` under ``key``."""
        self._outputs[key] = value

    def do(self, op_type: str, *inputs: ir.Value, dtype: ir.DataType = _FLOAT, **attributes: Any) -> ir.Value:
        name = f"enginewright/tap.{self._count}"
        self._count += 1
        node = ir.node(op_type, list(inputs), attributes or None, name=name)
        node.outputs[0].name, node.outputs[0].type = name, ir.TensorType(dtype)
        self._model.graph.append(node)
        return node.outputs[0]

    def number(self, value: float) -> ir.Value:
        if value not in self._numbers:
            self._numbers[value] = self.do("Constant", value=ir.Tensor(np.array(value, np.float32)))
        return self._numbers[value]

    def test(self, op_type: str, value: ir.Value, bound: float) -> ir.Value:
        return self.do(op_type, value, self.number(bound), dtype=_BOOL)

    def where(self, condition: ir.Value, value: ir.Value, otherwise: float) -> ir.Value:
        return self.do("Where", condition, value, self.number(otherwise))

    def largest(self, value: ir.Value) -> ir.Value:
        return self.do("ReduceMax", value, keepdims=0)

    def least(self, value: ir.Value) -> ir.Value:
        return self.do("ReduceMin", value, keepdims=0)

    def power(self, value: ir.Value) -> ir.Value:
        """Sum of squares."""
        return self.do("ReduceSumSquare", value, keepdims=0)

    @contextmanager
    def opened(self) -> Iterator[Readings]:
        outputs = self._model.graph.outputs
        outputs.clear()
        outputs.extend(self._outputs.values())
        names = {key: str(value.name) for key, value in self._outputs.items()}
        with stored(self._model) as path, OnnxRuntimeEngine(path, fuse_qdq=False, lean=True) as engine:
            yield Readings(engine, names)


class Readings:
    """Runs a tapped graph."""

    def __init__(self, engine: OnnxRuntimeEngine, names: dict[tuple[str, str], str]) -> None:
        self._engine, self._names = engine, names

    def of(self, feed: Feed) -> dict[tuple[str, str], float]:
        """Every tap's scalar for one feed."""
        found = self._engine.infer(feed)
        return {key: float(found[name]) for key, name in self._names.items()}
