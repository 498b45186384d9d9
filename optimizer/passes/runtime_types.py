"""Types and shapes of operators that the ONNX standard does not know, as ONNX Runtime infers them.

Typing a graph in half precision needs the type of every value: an operand of unknown type beside a half one is an
error in every runtime.
"""

from __future__ import annotations

import onnx_ir as ir

from engines.engine import TensorSpec
from engines.errors import EngineError
from engines.onnxruntime.graph import running
from graphs.cutting.taps import cut_at
from graphs.reading.operators import is_standard
from graphs.reading.shapes import infer_shapes
from optimizer.passes.base import PassResult


class RuntimeTypes:
    """Asks ONNX Runtime about outputs of operators of other domains that have no type, in the main graph."""

    name = "ask the runtime for types"

    def apply(self, model: ir.Model) -> PassResult:
        unknown = [value for node in model.graph if not is_standard(node) for value in _untyped(node)]
        if not unknown:
            return PassResult(0)
        try:
            found = _as_inferred(model, {str(value.name) for value in unknown})
        except EngineError as error:
            return PassResult(0, (f"{len(unknown)} values of other domains have no known type: {error.what}",))
        for value in unknown:
            spec = found[str(value.name)]
            value.type = ir.TensorType(ir.DataType.from_numpy(spec.numpy_dtype()))
            # of a value of unknown rank ONNX Runtime says what it says of a scalar
            value.shape = ir.Shape([s if isinstance(s, int) else None for s in spec.shape]) if spec.shape else None
        infer_shapes(model)
        return PassResult(len(unknown), (f"{len(unknown)} types of other domains are ONNX Runtime's",))


def _as_inferred(model: ir.Model, names: set[str]) -> dict[str, TensorSpec]:
    """What ONNX Runtime says of the values called ``names`` when they are the outputs."""
    with running(cut_at(model, names)) as engine:
        return {spec.name: spec for spec in engine.outputs}


def _untyped(node: ir.Node) -> list[ir.Value]:
    return [value for value in node.outputs if value.name and value.dtype is None]
