"""Bodies of the operators of ``ai.onnx.ml`` that compute on numbers: scalers, encoders and linear models of pipelines.

Definitions: ONNX's ``docs/Operators-ml.md``. Trees, support vectors and what deals in strings stay.
"""

from __future__ import annotations

import math

import onnx
import onnx_ir as ir

from graphs.reading.constants import constant_array
from optimizer.passes.spelling_out.bodies import Bodies, Body, rank_of

_FLOAT = ir.DataType.FLOAT.value


class _Table(Body):
    """A body whose data is float32 whatever comes in, as these operators take any number."""

    def data(self) -> str:
        return self.do("Cast", self.given(0), to=_FLOAT)

    def floats(self, values: list[float], *shape: int) -> str:
        tensor = onnx.helper.make_tensor("", onnx.TensorProto.FLOAT, shape or (len(values),), values)
        return self.do("Constant", value=tensor)


def _floats(node: ir.Node, name: str) -> list[float]:
    return [float(value) for value in node.attributes.get_floats(name, ())]


def _scaler(node: ir.Node, opset: int) -> ir.Function | None:
    """``(x - offset) · scale``, one each or one per column."""
    body = _Table(node, opset)
    data, offset, scale = body.data(), _floats(node, "offset"), _floats(node, "scale")
    if offset:
        data = body.do("Sub", data, body.floats(offset))
    return body.function(body.do("Mul", data, body.floats(scale)) if scale else data)


def _binarizer(node: ir.Node, opset: int) -> ir.Function | None:
    body = _Table(node, opset)
    above = body.do("Greater", body.data(), body.number(node.attributes.get_float("threshold", 0.0)))
    return body.function(body.do("Cast", above, to=_FLOAT))


def _imputer(node: ir.Node, opset: int) -> ir.Function | None:
    """The values given for columns in place of NaN, or of one number."""
    missing = node.attributes.get_float("replaced_value_float", math.nan)
    instead = _floats(node, "imputed_value_floats")
    if not instead:
        return None
    body = _Table(node, opset)
    data = body.data()
    gone = body.do("IsNaN", data) if math.isnan(missing) else body.do("Equal", data, body.number(missing))
    return body.function(body.do("Where", gone, body.floats(instead), data))


def _normalizer(node: ir.Node, opset: int) -> ir.Function | None:
    """Rows over their L2, L1 or largest magnitude; a row of zeros stays."""
    norm = node.attributes.get_string("norm", "MAX")
    if opset < 18 or rank_of(node, 0) != 2 or norm not in ("L1", "L2"):
        return None
    body = _Table(node, opset)
    data = body.data()
    length = body.do("ReduceL1" if norm == "L1" else "ReduceL2", data, body.ints(1), keepdims=1)
    none = body.do("Equal", length, body.number(0.0))
    return body.function(body.do("Div", data, body.do("Where", none, body.number(1.0), length)))


def _linear(node: ir.Node, opset: int) -> tuple[_Table, str] | None:
    coefficients, intercepts = _floats(node, "coefficients"), _floats(node, "intercepts")
    targets = node.attributes.get_int("targets", 1) if node.op_type == "LinearRegressor" else len(intercepts)
    if rank_of(node, 0) != 2 or not targets or not coefficients or len(coefficients) % targets:
        return None
    body = _Table(node, opset)
    weight = body.floats(coefficients, targets, len(coefficients) // targets)
    bias = [body.floats(intercepts)] if intercepts else []
    return body, body.do("Gemm", body.data(), weight, *bias, transB=1)


def _regressor(node: ir.Node, opset: int) -> ir.Function | None:
    found = _linear(node, opset)
    if found is None or node.attributes.get_string("post_transform", "NONE") != "NONE":
        return None
    return found[0].function(found[1])


def _classifier(node: ir.Node, opset: int) -> ir.Function | None:
    """The label of the largest score, and the scores; of three classes or more, whose labels are integers."""
    labels = list(node.attributes.get_ints("classlabels_ints", ()))
    after = node.attributes.get_string("post_transform", "NONE")
    found = _linear(node, opset)
    if found is None or len(labels) < 3 or len(labels) != len(_floats(node, "intercepts")):
        return None
    body, scores = found
    if after not in ("NONE", "SOFTMAX"):
        return None
    label = body.do("Gather", body.ints(*labels), body.do("ArgMax", scores, axis=1, keepdims=0))
    return body.function(label, body.do("Softmax", scores, axis=1) if after == "SOFTMAX" else scores)


def _one_hot(node: ir.Node, opset: int) -> ir.Function | None:
    """1 where a number is the category, along a new last axis; unknown ones are refused unless ``zeros`` is set."""
    categories = list(node.attributes.get_ints("cats_int64s", ()))
    if not categories or not node.attributes.get_int("zeros", 1):
        return None
    body = Body(node, opset)
    numbers = body.do("Unsqueeze", body.do("Cast", body.given(0), to=ir.DataType.INT64.value), body.ints(-1))
    return body.function(body.do("Cast", body.do("Equal", numbers, body.ints(*categories)), to=_FLOAT))


def _extractor(node: ir.Node, opset: int) -> ir.Function | None:
    """Columns by number."""
    columns = constant_array(node.inputs[1])
    if columns is None or rank_of(node, 0) in (None, 0, 1):
        return None
    body = Body(node, opset)
    return body.function(body.do("Gather", body.given(0), body.ints(*columns.reshape(-1).tolist()), axis=-1))


ML: Bodies = {
    "Scaler": _scaler,
    "Binarizer": _binarizer,
    "Imputer": _imputer,
    "Normalizer": _normalizer,
    "LinearRegressor": _regressor,
    "LinearClassifier": _classifier,
    "OneHotEncoder": _one_hot,
    "ArrayFeatureExtractor": _extractor,
}
