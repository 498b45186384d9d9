"""``optimize inspect --tensorrt8``: what TensorRT 8.5 and 8.6 would refuse of a graph, with no such library here."""

from __future__ import annotations

import onnx_ir as ir

from graphs.tensorrt.tensorrt8.lint import lint_tensorrt8
from optimizer.passes.clean import clean
from optimizer.tensorrt8.lowering import lowered_as_far_as_possible

_TITLE = "TensorRT 8"


def tensorrt8_limits(model: ir.Model) -> list[str]:
    """One line for every node that cannot be written in a form they read right, or one that says that all can, and how
    many operators take another form.
    """
    copy = model.clone()
    clean(copy)
    lowered = lowered_as_far_as_possible(copy)
    findings = lint_tensorrt8(lowered.model)
    if findings:
        return [f"{found.where or 'the graph'}: {_TITLE} cannot take it: {found.message}" for found in findings]
    return [f"{_TITLE} takes it (optimize deploy BUNDLE tensorrt8)", *(f"{_TITLE}: {note}" for note in lowered.notes)]
