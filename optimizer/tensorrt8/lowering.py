"""From a typed graph to the form that TensorRT 8 reads right.

TensorRT 8 has no strong typing: half precision is asked for layer by layer beside the graph (``Lowered.precisions``),
INT8 by Q/DQ in FP32. Its parser knows opset 17 and does not look at what operators gained since. So types become FP32,
operators take their older form or are written out as those they consist of, and what is then still not right there is
refused, with the node's name. Facts: ``graphs.tensorrt.tensorrt8``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import onnx_ir as ir
import onnx_ir.passes.common as common

from engines.errors import BuildError, BuildFailure
from graphs.reading.shapes import infer_shapes
from graphs.tensorrt.lint import LintFinding, Rule
from graphs.tensorrt.tensorrt8.lint import lint_tensorrt8
from graphs.tensorrt.tensorrt8.operators import IR_VERSION, OPSET
from graphs.writing.edits import drop_unused_initializers
from optimizer.precision import Dtype
from optimizer.tensorrt8.opset import drop_defaults
from optimizer.tensorrt8.precisions import node_precisions, rounded_nodes
from optimizer.tensorrt8.quantizers import quantizers_in_fp32
from optimizer.tensorrt8.rewriting import rewrite
from optimizer.tensorrt8.rules import RULES
from optimizer.tensorrt8.widening import widen

_TYPES = frozenset({Rule.DTYPE, Rule.SCALE_TYPE, Rule.QUANTIZED_TYPE, Rule.ZERO_POINT})


@dataclass(frozen=True)
class Lowered:
    """``model`` for TensorRT 8's parser. ``precisions``: node of it -> what that computes in, for every node on floats
    but Q, DQ and Cast; a node that was written out hands its own on to its parts, but those that half precision would
    ruin. ``rounded``: nodes whose results may be FP16, INT8 products included. ``notes`` say what was changed.
    """

    model: ir.Model
    notes: tuple[str, ...]
    precisions: Mapping[str, Dtype]
    rounded: frozenset[str] = frozenset()


def lower_for_tensorrt8(model: ir.Model) -> Lowered:
    """A lowered copy of the typed ``model``; weights are shared with it.

    Raises ``BuildError`` (unsupported operator or type) naming the first node that TensorRT 8 would refuse or misread.
    """
    lowered = lowered_as_far_as_possible(model)
    findings = lint_tensorrt8(lowered.model)
    if findings:
        raise refusal(findings)
    return lowered


def lowered_as_far_as_possible(model: ir.Model) -> Lowered:
    """The same where nothing is refused: for who asks ``lint_tensorrt8`` himself what is left."""
    copy = model.clone()
    infer_shapes(copy)
    before, rounded = node_precisions(copy), rounded_nodes(copy)
    notes = [*widen(copy), *quantizers_in_fp32(copy)]
    rewritten = rewrite(copy, RULES)
    drop_defaults(copy)
    _declare(copy)
    common.RemoveUnusedNodesPass()(copy)  # second readers that keep a bias apart in ONNX Runtime, casts that went
    drop_unused_initializers(copy)
    infer_shapes(copy)
    names = [str(node.name) for node in copy.graph.all_nodes()]
    sources = {name: rewritten.sources.get(name, name) for name in names}
    wide = rewritten.wide
    precisions = {
        name: Dtype.FP32 if name in wide else before[source] for name, source in sources.items() if source in before
    }
    halves = frozenset(name for name, source in sources.items() if source in rounded and name not in wide)
    notes += [f"{count} {op} written in the form of opset {OPSET}" for op, count in sorted(rewritten.changed.items())]
    return Lowered(copy, tuple(notes), precisions, halves)


def refusal(findings: list[LintFinding]) -> BuildError:
    """What stands in the way, the first in full and how many more."""
    first = findings[0]
    kinds = Counter(finding.rule for finding in findings[1:])
    more = f" (and {sum(kinds.values())} more)" if kinds else ""
    failure = BuildFailure.UNSUPPORTED_TYPE if first.rule in _TYPES else BuildFailure.UNSUPPORTED_OP
    return BuildError(
        failure,
        f"TensorRT 8 cannot take it: {first.message}{more}",
        where=first.where,
        fix="build with TensorRT 10 or later, or export the model without that operator",
    )


def _declare(model: ir.Model) -> None:
    model.ir_version = IR_VERSION
    model.opset_imports[""] = OPSET
    for graph in model.graphs():
        graph.opset_imports[""] = OPSET
        for node in graph:
            node.version = None
