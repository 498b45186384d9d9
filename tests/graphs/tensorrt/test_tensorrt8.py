"""The list of TensorRT 8's operators, and the lint of graphs that were not lowered."""

from __future__ import annotations

import onnx
import onnx_ir as ir

from graphs.reading.shapes import infer_shapes
from graphs.tensorrt.lint import Rule
from graphs.tensorrt.tensorrt8.lint import lint_tensorrt8
from graphs.tensorrt.tensorrt8.operator_checks import CHECKS
from graphs.tensorrt.tensorrt8.operators import OPSET, SUPPORTED


def test_the_list_names_operators_of_its_opset() -> None:
    for name in SUPPORTED:
        assert onnx.defs.get_schema(name, OPSET).deprecated is False
    assert set(CHECKS) <= SUPPORTED
    newer = {"LayerNormalization", "GroupNormalization", "Gelu", "Mish", "IsInf", "CastLike", "Hardmax"}
    assert not newer & SUPPORTED


def findings(text: str, opset: int) -> list[tuple[Rule, str]]:
    model = ir.from_onnx_text(f'<ir_version: 10, opset_import: ["" : {opset}]>\n{text}')
    infer_shapes(model)
    return [(found.rule, found.where) for found in lint_tensorrt8(model)]


def test_a_graph_of_a_newer_opset_is_not_taken_as_it_is() -> None:
    """The reduction would go over all axes there, without a word."""
    text = "g (float[2, 3] x) => (float[2, 1] y) <int64[1] axes = {1}> { [mean] y = ReduceMean(x, axes) }"
    assert findings(text, 21) == [(Rule.OPSET, ""), (Rule.MISREAD, "mean")]
    older = "g (float[2, 3] x) => (float[2, 1] y) { [mean] y = ReduceMean<axes = [1]>(x) }"
    assert findings(older, 17) == []


def test_operators_of_other_domains_are_plugins_business() -> None:
    text = "g (float[2] x) => (float[2] y) { y = my.domain.Thing(x) }"
    model = ir.from_onnx_text(f'<ir_version: 8, opset_import: ["" : 17, "my.domain" : 1]>\n{text}')
    assert lint_tensorrt8(model) == []
