"""Whether this CPU's integer kernels compute what they should.

Without VNNI, ONNX Runtime multiplies uint8 by int8 with an instruction that adds two products in 16 bits and saturates
(``vpmaddubsw``): 255·127 twice does not fit. Weights of seven bits always do: its quantizer's ``reduce_range``.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import onnx
from onnx import TensorProto, helper

from engines.onnxruntime.engine import OnnxRuntimeEngine

FULL, REDUCED = 127, 63
"""Largest weight code: 8 bits, and 7 bits, whose products with uint8 fit 16 bits in pairs."""
_SIZE = 64
"""Rows and columns of the product that is tried: more than one tile of a kernel, and done in microseconds. Chosen."""


@cache
def largest_weight_code() -> int:
    """``FULL`` where a uint8 times int8 product comes out exact on this machine, ``REDUCED`` where it saturates."""
    data = np.full((_SIZE, _SIZE), 255, np.uint8)
    weight = np.full((_SIZE, _SIZE), FULL, np.int8)
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["data", "weight"], ["product"])],
        "saturation",
        [helper.make_tensor_value_info("data", TensorProto.UINT8, [_SIZE, _SIZE])],
        [helper.make_tensor_value_info("product", TensorProto.INT32, [_SIZE, _SIZE])],
        [onnx.numpy_helper.from_array(weight, "weight")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    with OnnxRuntimeEngine(model.SerializeToString(), threads=1) as engine:
        product = engine.infer({"data": data})["product"]
    return FULL if bool((product == 255 * FULL * _SIZE).all()) else REDUCED
