"""Bodies of what ONNX Runtime's optimizers fuse (``com.microsoft``): sums and norms, activations, products.

Their definitions are ONNX Runtime's ``docs/ContribOperators.md``. TensorRT takes none of them, INT8 reaches no product
inside them, and shapes are not known behind them; ONNX Runtime fuses most of what is written here again.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from graphs.reading.constants import constant_array
from optimizer.passes.spelling_out.bodies import Bodies, Body, rank_of

_GELU_SINCE = 20
"""The opset that Gelu came with."""
_QUICK = 1.702
"""QuickGelu's ``alpha`` where none is given."""
_EPSILON = 1e-12
"""Of the norms that add a residual, where none is given; SimplifiedLayerNormalization has LayerNormalization's 1e-5."""


def _normed(body: Body, node: ir.Node, data: str, scale: str, bias: str, *, simplified: bool) -> str:
    if not simplified:
        epsilon = node.attributes.get_float("epsilon", _EPSILON)
        return body.do("LayerNormalization", *filter(None, (data, scale, bias)), axis=-1, epsilon=epsilon)
    epsilon = node.attributes.get_float("epsilon", _EPSILON if node.op_type.startswith("Skip") else 1e-5)
    squares = body.do("Mul", data, data)
    root = body.do("Sqrt", body.do("Add", body.mean(squares), body.number(epsilon, data)))
    return body.do("Mul", body.do("Div", data, root), scale)


def simplified_layer_norm(node: ir.Node, opset: int) -> ir.Function | None:
    """``x / sqrt(mean(x²) + ε) · scale`` over the last axis."""
    rank, axis = rank_of(node, 0), node.attributes.get_int("axis", -1)
    if axis != -1 and (rank is None or axis != rank - 1):
        return None
    body = Body(node, opset)
    return body.function(_normed(body, node, body.given(0), body.given(1), "", simplified=True))


def _skip_layer_norm(node: ir.Node, opset: int) -> ir.Function | None:
    body, simplified = Body(node, opset), node.op_type == "SkipSimplifiedLayerNormalization"
    beta, bias = ("", body.given(3)) if simplified else (body.given(3), body.given(4))
    total = body.do("Add", body.given(0), body.given(1))
    if bias:
        total = body.do("Add", total, bias)
    normed = _normed(body, node, total, body.given(2), beta, simplified=simplified)
    return body.function(normed, "", "", total)


def _embedded(node: ir.Node, opset: int) -> ir.Function | None:
    """Words, places and segments looked up, added and normed; how many tokens of each row the mask keeps."""
    body = Body(node, opset)
    ids, segments, words, places, kinds = (body.given(index) for index in range(5))
    mask, positions = body.given(7), body.given(8)
    if not positions:
        length = body.do("Shape", ids, start=1, end=2)
        places = body.do("Slice", places, body.ints(0), length, body.ints(0))
    else:
        places = body.do("Gather", places, positions)
    total = body.do("Add", body.do("Gather", words, ids), places)
    if segments and kinds:
        total = body.do("Add", total, body.do("Gather", kinds, segments))
    normed = _normed(body, node, total, body.given(5), body.given(6), simplified=False)
    kept = body.do("ReduceSum", mask, body.ints(1), keepdims=0) if mask else ""
    return body.function(normed, kept, total)


def _gelu(node: ir.Node, opset: int) -> ir.Function | None:
    if opset < _GELU_SINCE:
        return None
    body = Body(node, opset)
    data, bias = body.given(0), body.given(1)
    if bias:
        data = body.do("Add", data, bias)
    return body.function(body.do("Gelu", data, approximate="tanh" if node.op_type == "FastGelu" else "none"))


def _quick_gelu(node: ir.Node, opset: int) -> ir.Function | None:
    body = Body(node, opset)
    data = body.given(0)
    steep = body.do("Mul", data, body.number(node.attributes.get_float("alpha", _QUICK), data))
    return body.function(body.do("Mul", data, body.do("Sigmoid", steep)))


def _fused_matmul(node: ir.Node, opset: int) -> ir.Function | None:
    body, operands = Body(node, opset), list[str]()
    if any(node.attributes.get_int(f"transBatch{side}", 0) for side in "AB"):
        return None
    for index, side in enumerate("AB"):
        operand, rank = body.given(index), rank_of(node, index)
        if node.attributes.get_int(f"trans{side}", 0):
            if rank is None or rank < 2:
                return None
            operand = body.do("Transpose", operand, perm=[*range(rank - 2), rank - 1, rank - 2])
        operands.append(operand)
    product, alpha = body.do("MatMul", *operands), node.attributes.get_float("alpha", 1.0)
    return body.function(product if alpha == 1.0 else body.do("Mul", product, body.number(alpha, product)))


_PARAMETERS = {"LeakyRelu": ("alpha",), "HardSigmoid": ("alpha", "beta"), "Elu": ("alpha",)}
_PLAIN = {"Relu", "Tanh", "Sigmoid", "Softplus", "Softsign"}


def _activated(body: Body, data: str, kind: str, parameters: Sequence[float]) -> str | None:
    if not kind:
        return data
    if kind == "Clip" and len(parameters) == 2:
        return body.do("Clip", data, *(body.number(value, data) for value in parameters))
    names = _PARAMETERS.get(kind, ())
    if (names or kind in _PLAIN) and len(parameters) <= len(names):
        return body.do(kind, data, **dict(zip(names, parameters, strict=False)))
    return None


def _fused_conv(node: ir.Node, opset: int) -> ir.Function | None:
    """A convolution, what is added to it, and its activation."""
    body, own = Body(node, opset), {"auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"}
    attributes = {name: attribute.value for name, attribute in node.attributes.items() if name in own}
    data = body.do("Conv", *filter(None, (body.given(0), body.given(1), body.given(2))), **attributes)
    if body.given(3):
        data = body.do("Add", data, body.given(3))
    parameters = node.attributes.get_floats("activation_params", ())
    result = _activated(body, data, node.attributes.get_string("activation", ""), parameters)
    return body.function(result) if result is not None else None


def _fused_gemm(node: ir.Node, opset: int) -> ir.Function | None:
    body, own = Body(node, opset), {"alpha", "beta", "transA", "transB"}
    attributes = {name: attribute.value for name, attribute in node.attributes.items() if name in own}
    data = body.do("Gemm", *filter(None, (body.given(0), body.given(1), body.given(2))), **attributes)
    named = {"alpha": "activation_alpha", "beta": "activation_beta", "gamma": "activation_gamma"}
    parameters = [node.attributes.get_float(name, 0.0) for name in named.values() if name in node.attributes]
    result = _activated(body, data, node.attributes.get_string("activation", ""), parameters)
    return body.function(result) if result is not None else None


def _biased_residual(node: ir.Node, opset: int) -> ir.Function | None:
    body = Body(node, opset)
    return body.function(body.do("Add", body.do("Add", body.given(0), body.given(1)), body.given(2)))


def _rotated(node: ir.Node, opset: int) -> ir.Function | None:
    """Rotary embedding of halves: ``[a·cos - b·sin, b·cos + a·sin]``, sines by position out of a table."""
    half, rank = _half_of_head(node), rank_of(node, 0)
    if half is None or rank not in (3, 4) or rank_of(node, 1) != 2:
        return None
    if node.attributes.get_int("interleaved", 0) or node.attributes.get_int("rotary_embedding_dim", 0):
        return None
    body = Body(node, opset)
    data, heads_at = body.given(0), 1 if rank == 4 else 2
    if rank == 3:
        data = body.do("Reshape", data, body.ints(0, 0, -1, 2 * half))
    turns = (body.do("Gather", body.given(index), body.given(1)) for index in (2, 3))
    cos, sin = (body.do("Unsqueeze", turn, body.ints(heads_at)) for turn in turns)
    a, b = body.split(data, [half, half], -1)
    first = body.do("Sub", body.do("Mul", a, cos), body.do("Mul", b, sin))
    second = body.do("Add", body.do("Mul", b, cos), body.do("Mul", a, sin))
    joined = body.do("Concat", first, second, axis=-1)
    return body.function(body.do("Reshape", joined, body.ints(0, 0, -1)) if rank == 3 else joined)


def _half_of_head(node: ir.Node) -> int | None:
    table = constant_array(node.inputs[2]) if len(node.inputs) > 2 else None
    return int(table.shape[-1]) if table is not None else None


FUSED: Bodies = {
    "SimplifiedLayerNormalization": simplified_layer_norm,
    "SkipLayerNormalization": _skip_layer_norm,
    "SkipSimplifiedLayerNormalization": _skip_layer_norm,
    "EmbedLayerNormalization": _embedded,
    "Gelu": _gelu,
    "BiasGelu": _gelu,
    "FastGelu": _gelu,
    "QuickGelu": _quick_gelu,
    "FusedMatMul": _fused_matmul,
    "TransposeMatMul": _fused_matmul,
    "FusedConv": _fused_conv,
    "FusedGemm": _fused_gemm,
    "BiasAdd": _biased_residual,
    "RotaryEmbedding": _rotated,
}
