"""The CPU's integer products are exact for the weight codes that we say are safe."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from engines.onnxruntime.engine import OnnxRuntimeEngine
from engines.onnxruntime.integer_products import FULL, REDUCED, largest_weight_code


@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_code_does_not_saturate(sign: int) -> None:
    code = largest_weight_code()
    assert code in (FULL, REDUCED)
    weight = np.full((96, 32), sign * code, np.int8)
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, [8, 96])],
        [helper.make_tensor_value_info("y", TensorProto.INT32, [8, 32])],
        [onnx.numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    with OnnxRuntimeEngine(model.SerializeToString()) as engine:
        product = engine.infer({"x": np.full((8, 96), 255, np.uint8)})["y"]
    assert (product == sign * 255 * code * 96).all()
