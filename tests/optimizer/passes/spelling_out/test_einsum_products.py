"""An einsum of data and a weight becomes the product that INT8, sparsity and weight formats look for."""

from __future__ import annotations

import numpy as np
import pytest

from optimizer.passes.folding.constants import FoldConstants
from optimizer.passes.spelling_out.einsum_products import EinsumProducts
from tests.optimizer.passes.models import ops, parse, run, weights

PRODUCTS = {
    "dense": ("x,w", "bld,df->blf", (2, 3, 4), (4, 5), ["MatMul"]),
    "transposed weight": ("x,w", "bld,fd->blf", (2, 3, 4), (5, 4), ["MatMul"]),
    "weight first": ("w,x", "df,bld->blf", (2, 3, 4), (4, 5), ["MatMul"]),
    "heads": ("x,w", "bld,dhk->blhk", (2, 3, 4), (4, 2, 5), ["MatMul", "Reshape"]),
    "heads moved": ("x,w", "bld,dhk->bhlk", (2, 3, 4), (4, 2, 5), ["MatMul", "Reshape", "Transpose"]),
    "heads put together": ("x,w", "blhk,hkd->bld", (2, 3, 4, 5), (4, 5, 6), ["Reshape", "MatMul"]),
    "heads put together in another order": ("x,w", "blhk,khd->bld", (2, 3, 4, 5), (5, 4, 6), ["Reshape", "MatMul"]),
    "heads before positions": ("x,w", "bhlk,hkd->bld", (2, 4, 3, 5), (4, 5, 6), ["Transpose", "Reshape", "MatMul"]),
    "channels first": ("x,w", "bct,oc->bot", (2, 4, 3), (5, 4), ["Transpose", "MatMul", "Transpose"]),
    "an ellipsis": ("x,w", "...d,df->...f", (2, 3, 4), (4, 5), ["MatMul"]),
    "an ellipsis that is moved": ("x,w", "d...,dhk->...hk", (4, 2, 3), (4, 2, 5), ["Transpose", "MatMul", "Reshape"]),
    "one row": ("x,w", "d,df->f", (4,), (4, 5), ["MatMul"]),
}
OTHERS = {
    "batches of weights": ("x,w", "bhld,hdk->bhlk", (2, 3, 4, 5), (3, 5, 6)),
    "sums of data alone": ("x,w", "bld,df->bf", (2, 3, 4), (4, 5)),
    "sums of the weight alone": ("x,w", "bld,dfe->blf", (2, 3, 4), (4, 5, 6)),
    "an outer product": ("x,w", "bl,f->blf", (2, 3), (5,)),
    "a sum per row": ("x,w", "bld,d->bl", (2, 3, 4), (4,)),
    "a diagonal": ("x,w", "bdd,df->bf", (2, 4, 4), (4, 5)),
}


def model(inputs: str, equation: str, shape: tuple[int, ...], weight: tuple[int, ...], rank: int):
    free = ", ".join(["N", *map(str, shape[1:])] if len(shape) > 1 else map(str, shape))
    sizes, out = ", ".join(map(str, weight)), ", ".join("ABCDEFG"[:rank])
    types = f"g (float[{free}] x, float[{sizes}] w) => (float[{out}] y)"
    return parse(f'{types} {{ [e] y = Einsum<equation = "{equation}">({inputs}) }}', w=weights(*weight))


def rank_of(equation: str, shape: tuple[int, ...]) -> int:
    result = equation.partition("->")[2]
    return len(result) if "..." not in result else len(result) - 3 + len(shape) - 1


@pytest.mark.parametrize("case", PRODUCTS)
def test_a_product_is_written_as_one(case: str) -> None:
    inputs, equation, shape, weight, wanted = PRODUCTS[case]
    graph, x = model(inputs, equation, shape, weight, rank_of(equation, shape)), weights(*shape)
    before = run(graph, x=x)[0]
    assert EinsumProducts().apply(graph).modified == 1
    FoldConstants().apply(graph)
    assert ops(graph) == wanted
    assert next(node for node in graph.graph if node.op_type == "MatMul").name == "e"
    np.testing.assert_allclose(run(graph, x=x)[0], before, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", OTHERS)
def test_what_is_none_stays(case: str) -> None:
    inputs, equation, shape, weight = OTHERS[case]
    graph = model(inputs, equation, shape, weight, rank_of(equation, shape))
    assert EinsumProducts().apply(graph).modified == 0
    assert ops(graph) == ["Einsum"]


def test_data_of_both_sides_stays() -> None:
    graph = parse(
        'g (float[2,3,4] x, float[2,5,4] z) => (float[2,3,5] y) { y = Einsum<equation = "bid,bjd->bij">(x, z) }'
    )
    assert EinsumProducts().apply(graph).modified == 0


def test_a_shared_weight_serves_each_in_its_order() -> None:
    text = """g (float[N, 4] x, float[4, 6] w) => (float[N, 4] y) {
        h = Einsum<equation = "nd,df->nf">(x, w)
        y = Einsum<equation = "nf,df->nd">(h, w)
    }"""
    graph, x = parse(text, w=weights(4, 6)), weights(3, 4)
    before = run(graph, x=x)[0]
    assert EinsumProducts().apply(graph).modified == 2
    np.testing.assert_allclose(run(graph, x=x)[0], before, rtol=1e-4, atol=1e-5)
