"""Shapes of a graph whose inputs have fixed sizes."""

from __future__ import annotations

import logging
import warnings

import onnx_ir as ir

from graphs.reading.shapes import infer_shapes, static_shape, with_shapes

MASKED = """<ir_version: 10, opset_import: ["" : 21]>
g (float16[N, 4] x) => (float16[N, M] y) {
  low = Constant<value = float {-3.4e38}>()
  half = Cast<to = 10>(low)
  sum = Add(x, half)
  shape = Shape(x)
  y = Reshape(sum, shape)
}"""


def test_a_mask_beyond_half_precision_raises_no_warning_of_numpys():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = with_shapes(ir.from_onnx_text(MASKED), {"x": (3, 4)})
    assert not caught
    assert static_shape(found.graph.outputs[0]) == (3, 4)


BAGS = """<ir_version: 10, opset_import: ["" : 21]>
g (float[n, 4] x) => (float[m, 4] y) {
  none = SequenceEmpty()
  name = Identity(none)
  rows = Shape<start = 0, end = 1>(x)
  count = Squeeze(rows)
  yes = Constant<value = bool {1}>()
  all = Loop(count, yes, name) <body = step (int64 i, bool go, before) => (more, after) {
    more = Identity(go)
    row = Gather(x, i)
    first = Constant<value = int64 {0}>()
    begins = Equal(i, first)
    after = If(begins) <
      then_branch = one () => (single) { single = SequenceConstruct(row) },
      else_branch = next () => (longer) { longer = SequenceInsert(before, row) }>
  }>
  y = ConcatFromSequence<axis = 0, new_axis = 1>(all)
}"""
"""What torch.onnx makes of an EmbeddingBag, in small: states of a loop that are sequences and say no type."""


def test_libraries_say_nothing_of_what_they_leave_as_it_is(caplog):
    with caplog.at_level(logging.WARNING):
        with_shapes(ir.from_onnx_text(BAGS), {"x": (3, 4)})
    assert not caplog.records


def test_sequences_that_control_flow_hands_on_are_no_tensors():
    model = ir.from_onnx_text(BAGS)
    infer_shapes(model)
    types = {value.name: value.type for graph in model.graphs() for node in graph for value in node.outputs}
    body = next(node for node in model.graph if node.op_type == "Loop").attributes["body"].as_graph()
    handed = {name: types[name] for name in ("none", "name", "all", "after", "single", "longer")}
    assert not any(isinstance(type_, ir.TensorType) for type_ in [*handed.values(), body.inputs[2].type])
    assert all(isinstance(types[name], ir.TensorType) for name in ("row", "more", "y"))
