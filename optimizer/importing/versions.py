"""Opset conversion, upwards, without loading weights and with subgraphs included.

Opset 21 is where graphs are brought to: FP16 scales in Q/DQ need 19 and block quantization 21, ONNX Runtime 1.20 and
TensorRT 10 and newer all read it. A newer model keeps its opset.

Each node is brought from its own opset to 21 by the ``adapters``: onnx's converter changes what Resize-10, Upsample,
Softmax and others compute, enters no subgraph, and starts at opset 7 for many operators.
"""

from __future__ import annotations

import onnx
import onnx_ir as ir

from graphs.errors import BadInput
from graphs.reading.shapes import infer_shapes
from graphs.writing.free_names import FreeNames
from optimizer.importing.adapters import CannotConvert, adapt_node

OPSET = 21
"""What graphs are brought to: see above."""
IR_VERSION = 10
"""The IR version that came with opset 21 (ONNX 1.16)."""
NEWEST_OPSET = onnx.defs.onnx_opset_version()


def settle_opset(model: ir.Model, where: str) -> int:
    """The model's opset of ONNX's own operators, kept under one name (""); nodes of "ai.onnx" are renamed likewise.

    Raises ``BadInput`` where it is newer than the onnx package knows.
    """
    imports = model.opset_imports
    for versions in (imports, *(function.opset_imports for function in model.functions.values())):
        if "ai.onnx" in versions:
            versions[""] = max(versions.pop("ai.onnx"), versions.get("", 0))
    for graph in (*model.graphs(), *(function.graph for function in model.functions.values())):
        for node in graph:
            if node.domain == "ai.onnx":
                node.domain = ""
    version = imports.setdefault("", OPSET)
    if version > NEWEST_OPSET:
        raise BadInput(
            f"the model uses opset {version}",
            where=where,
            expected=f"at most {NEWEST_OPSET}",
            fix="install a newer onnx package, or export with an older opset",
        )
    return version


def convert_to_current(model: ir.Model, where: str) -> list[str]:
    """Raise the default opset to at least 21 and the IR version to at least 10, in place; returns notes.

    A node with a ``version`` of its own (it came from a function) is read by that. Raises ``BadInput`` naming a node
    that cannot be converted.
    """
    version = model.opset_imports[""]
    model.ir_version = max(model.ir_version, IR_VERSION)
    nodes = [node for graph in list(model.graphs()) for node in graph if node.domain == ""]
    target = max(version, OPSET)
    if all((node.version or version) >= target for node in nodes):
        model.opset_imports[""] = target
        return []
    infer_shapes(model)
    _Conversion(model, target, where).run([(node, node.version or version) for node in nodes])
    return [told] if (told := conversion(version)) else []


def conversion(declared: int) -> str:
    """From which opset to which a model of opset ``declared`` is converted; empty where it keeps its own."""
    return f"opset {declared} converted to {OPSET}" if declared < OPSET else ""


class _Conversion:
    """Brings nodes to ``target`` in rounds: what is converted may tell the rank that another node waits for.

    Operators before opset 6 tell onnx's inference nothing; converted, they do.
    """

    def __init__(self, model: ir.Model, target: int, where: str) -> None:
        self._model, self._target, self._where = model, target, where
        self._names = FreeNames(model.graph)

    def run(self, pending: list[tuple[ir.Node, int]]) -> None:
        declared = self._model.opset_imports[""]
        last = False
        while pending:
            waiting = [(node, self._adapt(node, version, declared, last)) for node, version in pending]
            waiting = [(node, version) for node, version in waiting if version < self._target]
            self._model.opset_imports[""] = self._target
            last = len(waiting) == len(pending)
            pending = waiting
            infer_shapes(self._model)

    def _adapt(self, node: ir.Node, version: int, declared: int, last: bool) -> int:
        try:
            reached = adapt_node(node, version, self._target, self._names, last=last)
        except CannotConvert as error:
            raise BadInput(
                f"opset {declared} cannot be converted to {self._target}: {node.op_type} {node.name!r}: {error}",
                where=self._where,
                fix=f"export the model with opset {self._target}",
            ) from error
        node.version = None
        return reached
