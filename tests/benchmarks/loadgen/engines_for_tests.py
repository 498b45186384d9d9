"""Engines a LoadGen child opens by ``file.py:function``: a real tiny one, and ones that misbehave."""

from __future__ import annotations

import os
import time
from types import TracebackType

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from engines.engine import Array, Feed, TensorSpec
from engines.onnxruntime.engine import OnnxRuntimeEngine

FEATURES, CLASSES = 16, 4


def tiny_model() -> bytes:
    """x [batch, 16] float32 -> logits [batch, 4]: one matrix product and a ReLU, seeded weights."""
    weights = np.random.default_rng(0).standard_normal((FEATURES, CLASSES)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Relu", ["h"], ["logits"])],
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", FEATURES])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", CLASSES])],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def onnxruntime_engine() -> OnnxRuntimeEngine:
    return OnnxRuntimeEngine(tiny_model(), threads=1)


class Misbehaving:
    """Sums its input; ``calls`` counts samples so that one of them can be treated badly."""

    inputs = (TensorSpec("x", "float32", ("batch", FEATURES)),)
    outputs = (TensorSpec("logits", "float32", ("batch", CLASSES)),)
    per_sample_s = 0.0

    def infer(self, feed: Feed) -> dict[str, Array]:
        x = feed["x"]
        time.sleep(self.per_sample_s * len(x))
        logits = np.repeat(x.sum(1, keepdims=True), CLASSES, 1)
        return self.spoil(x, {"logits": logits})

    def spoil(self, x: Array, outputs: dict[str, Array]) -> dict[str, Array]:
        return outputs

    def close(self) -> None: ...

    def __enter__(self) -> Misbehaving:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def _marked(x: Array) -> Array:
    """Rows of the poisoned sample: its first feature is 999."""
    return np.asarray(x[:, 0] == 999.0)


class Raising(Misbehaving):
    def spoil(self, x: Array, outputs: dict[str, Array]) -> dict[str, Array]:
        if _marked(x).any():
            raise ValueError("cannot digest this sample")
        return outputs


class ReturningNan(Misbehaving):
    def spoil(self, x: Array, outputs: dict[str, Array]) -> dict[str, Array]:
        outputs["logits"][_marked(x), 0] = np.nan
        return outputs


class WrongShape(Misbehaving):
    def spoil(self, x: Array, outputs: dict[str, Array]) -> dict[str, Array]:
        return {"logits": outputs["logits"][:, :-1]} if _marked(x).any() else outputs


class Hanging(Misbehaving):
    def spoil(self, x: Array, outputs: dict[str, Array]) -> dict[str, Array]:
        if _marked(x).any():
            time.sleep(3600)
        return outputs


class Dying(Misbehaving):
    def spoil(self, x: Array, outputs: dict[str, Array]) -> dict[str, Array]:
        if _marked(x).any():
            os._exit(7)
        return outputs


class Detecting(Misbehaving):
    """Returns as many rows as the sample has positive features: axis 0 of the output is not the batch."""

    outputs = (TensorSpec("boxes", "float32", ("detections", 3)),)

    def infer(self, feed: Feed) -> dict[str, Array]:
        return {"boxes": np.ones((int((feed["x"] > 0).sum()), 3), np.float32)}


class Slow(Misbehaving):
    per_sample_s = 0.05


class Broken(Misbehaving):
    def spoil(self, x: Array, outputs: dict[str, Array]) -> dict[str, Array]:
        raise RuntimeError("no kernel for this device")


class Unloadable(Misbehaving):
    def __init__(self) -> None:
        raise RuntimeError("plan was built by another version")
