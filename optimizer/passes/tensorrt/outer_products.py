"""Write a matrix product over one element, ``[…, M, 1] x […, 1, N]``, as the multiplication that it is.

Rotary embeddings multiply positions by frequencies so. They stay in FP32, in which TensorRT-RTX 1.7 has no matrix
product on SM75 (T4): every decoder was refused there for a product without a sum.
"""

from __future__ import annotations

import onnx_ir as ir

from graphs.reading.operators import is_standard
from optimizer.passes.base import PassResult
from optimizer.passes.infer_shapes import InferShapes


class MultiplyOuterProducts:
    """In every graph, bodies included, where the shapes say so."""

    name = "outer products as multiplications"

    def apply(self, model: ir.Model) -> PassResult:
        products = [
            node for graph in model.graphs() for node in graph if node.op_type == "MatMul" and is_standard(node)
        ]
        if products:
            InferShapes().apply(model)
        outer = [node for node in products if _sums_nothing(node)]
        for node in outer:
            node.op_type = "Mul"
        return PassResult(len(outer), (f"{len(outer)} outer products written as multiplications",) if outer else ())


def _sums_nothing(product: ir.Node) -> bool:
    """Whether what is summed over is one element: known of either operand, of which neither is a vector."""
    left, right = (value.shape if value is not None else None for value in product.inputs)
    if left is None or right is None or len(left) < 2 or len(right) < 2:
        return False
    return left[-1] == 1 or right[-2] == 1
