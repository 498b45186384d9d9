"""Checks an imported graph must pass, and the notes it earns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import onnx
import onnx_ir as ir
import onnx_ir.passes.common as common

from graphs.errors import BadInput
from graphs.reading.constants import constant_tensor
from graphs.reading.operators import is_standard
from optimizer.passes.dialects.integer_operators import spells_out
from optimizer.passes.dialects.runtime_operators import has_body

RUNTIME_DOMAINS = {"ai.onnx.ml", "com.microsoft", "ai.onnx.preview", "ai.onnx.preview.training"}
"""Domains ONNX Runtime has kernels for; TensorRT has none of them."""

_UNSUPPORTED_TYPES = {ir.DataType.STRING, ir.DataType.COMPLEX64, ir.DataType.COMPLEX128, ir.DataType.UNDEFINED}


def check_graph(model: ir.Model, where: str) -> None:
    """Raise ``BadInput`` for an empty graph, inputs or outputs that are no numeric tensors, or damaged weights."""
    graph = model.graph
    if len(graph) == 0:
        raise BadInput("the graph has no nodes", where=where, expected="a model that computes something")
    if not graph.outputs:
        raise BadInput("the graph has no outputs", where=where, expected="at least one output")
    for kind, values in (("input", graph.inputs), ("output", graph.outputs)):
        for value in values:
            _check_interface(value, kind, where)
    for value in (value for g in model.graphs() for value in g.initializers.values()):
        _check_weight(value, where)


def _check_interface(value: ir.Value, kind: str, where: str) -> None:
    name = f"{kind} {value.name!r}"
    if value.type is None:
        raise BadInput(f"{name} has no type", where=where, expected="a tensor type in the graph's signature")
    if not isinstance(value.type, ir.TensorType) or value.dtype in _UNSUPPORTED_TYPES:
        kind_of_type = getattr(value.dtype, "name", "?").lower()
        shown = kind_of_type if isinstance(value.type, ir.TensorType) else type(value.type).__name__
        fix = "export the model without this pre- or postprocessing"
        raise BadInput(f"{name} is of type {shown}", where=where, expected="a numeric or boolean tensor", fix=fix)
    dtype = value.dtype
    if dtype is not None and dtype is not ir.DataType.BFLOAT16 and dtype.numpy().isbuiltin != 1:
        raise BadInput(
            f"{name} is of type {dtype.name.lower()}",
            where=where,
            expected="a type that numpy has: files of samples and engines hold no other",
            fix="feed a wider type and cast inside the model",
        )
    if kind == "input" and value.shape is None:
        fix = "give the input a shape; dimensions may be symbolic"
        raise BadInput(f"{name} has no rank", where=where, expected="a shape", fix=fix)


def _check_weight(value: ir.Value, where: str) -> None:
    tensor = value.const_value
    if tensor is None or isinstance(tensor, ir.ExternalTensor):
        return
    shape = tensor.shape.numpy()
    if any(dimension < 0 for dimension in shape):
        raise BadInput(f"tensor {value.name!r} has shape {list(shape)}", where=where, expected="dimensions >= 0")
    if tensor.dtype in _UNSUPPORTED_TYPES:
        return
    raw = getattr(tensor, "raw", None)
    if isinstance(raw, onnx.TensorProto) and raw.HasField("raw_data") and len(raw.raw_data) != tensor.nbytes:
        raise BadInput(
            f"tensor {value.name!r} holds {len(raw.raw_data)} bytes",
            where=where,
            expected=f"{tensor.nbytes} bytes for {tensor.dtype.name}{list(shape)}",
        )


def check_with_onnx(model: ir.Model, where: str, *, old: bool = False) -> None:
    """Run onnx.checker on the graph without its large weights. Raises ``BadInput`` with the checker's reason.

    ``old`` lets operators pass that are deprecated (GroupNormalization of opset 18): conversion has yet to come. The
    checker asks for the rank of every output, which no runtime does: an unknown one is a scalar for the moment.
    """
    unknown = [value for value in model.graph.outputs if value.shape is None]
    for value in unknown:
        value.shape = ir.Shape([])
    try:
        common.CheckerPass(full_check=False, check_custom_domain=False)(model)
    except (onnx.checker.ValidationError, ir.passes.PassError, RuntimeError, ValueError) as error:
        cause = error.__cause__ or error
        if old and "is deprecated" in str(cause):
            return
        raise BadInput(f"not a valid ONNX model: {_first_lines(str(cause))}", where=where) from error
    finally:
        for value in unknown:
            value.shape = None


def _first_lines(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " ".join(lines[:3])


def notes_on(model: ir.Model) -> list[str]:
    """Facts about the model a user should know before optimizing it."""
    nodes = list(all_nodes(model))
    notes = []
    foreign = Counter(
        f"{node.domain}.{node.op_type}"
        for node in nodes
        if not (is_standard(node) or spells_out(node) or has_body(node))
    )
    functions = {f"{domain}.{name}" for domain, name, _ in model.functions}
    for name, count in sorted(foreign.items()):
        if name not in functions:
            domain = name.rpartition(".")[0]
            who = "ONNX Runtime only" if domain in RUNTIME_DOMAINS else "no known backend; a plugin is needed"
            notes.append(f"{count} x {name}: runs in {who}")
    training = [str(node.name or node.op_type) for node in nodes if _trains(node)]
    if training:
        notes.append(
            f"{len(training)} nodes are in training mode ({', '.join(training[:3])}): their answers depend on "
            "the rest of the batch, or on chance; export the model with model.eval()"
        )
    return notes


def _trains(node: ir.Node) -> bool:
    """A batch-norm that takes the batch's own statistics, a dropout that is told to drop."""
    if node.op_type == "BatchNormalization":
        return bool(node.attributes.get_int("training_mode", 0))
    told = node.inputs[2] if node.op_type == "Dropout" and len(node.inputs) > 2 else None
    tensor = constant_tensor(told)
    return tensor is not None and bool(tensor.numpy().any())


def all_nodes(model: ir.Model) -> Iterator[ir.Node]:
    """Every node of the model, subgraphs and functions included."""
    for graph in model.graphs():
        yield from graph
