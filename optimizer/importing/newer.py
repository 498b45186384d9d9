"""Opsets above 21, brought down to 21 where that says the same: all but a few operators only gained types since.

ONNX Runtime lacks kernels for a good part of what is newer, and everything downstream reads 21. What is new altogether
(Attention, RMSNormalization, RotaryEmbedding, Swish, …) is written out as the operators it consists of, by the function
that onnx's own schema holds; so a matrix product inside can be quantized like any other. A model with an operator that
has no such form keeps its opset.
"""

from __future__ import annotations

import onnx
import onnx_ir as ir
from onnx.defs import OpSchema, SchemaError

from optimizer.importing.versions import OPSET
from optimizer.passes.spelling_out.operators import spell_out

PREVIEW = "ai.onnx.preview"
"""ONNX's domain for operators that may join the standard (FlexAttention): no runtime has them yet."""


def bring_down(model: ir.Model) -> list[str]:
    """Write out and lower what can be, in place; returns notes."""
    version = model.opset_imports[""]
    if version <= OPSET:
        return []
    expanded = _expand(model)
    notes = [f"{name} written out as the operators it consists of" for name in sorted(expanded)]
    nodes = [node for graph in model.graphs() for node in graph if node.domain == ""]
    kept = next((node for node in nodes if not _says_the_same(node, version)), None)
    if kept is not None:
        return [*notes, f"opset {version} kept: {kept.op_type} {kept.name!r} means something else in {OPSET}"]
    for node in nodes:
        for name in set(node.attributes) - set(_schema(node.op_type, OPSET).attributes):
            node.attributes.pop(name)
        node.version = None
    for graph in model.graphs():
        graph.opset_imports[""] = OPSET
    model.opset_imports[""] = OPSET
    return [*notes, f"opset {version} lowered to {OPSET}, where its operators mean the same"]


def _schema(op_type: str, version: int) -> OpSchema:
    return onnx.defs.get_schema(op_type, version, "")


def _is_newer(op_type: str) -> bool:
    """Whether an operator came after 21."""
    try:
        _schema(op_type, OPSET)
    except SchemaError:
        return True
    return False


def _expand(model: ir.Model) -> set[str]:
    """Write out every operator that came after 21 and has a function, then those in its function; returns names."""
    done: set[str] = set()
    while spelt := spell_out(model, _has_a_body_only):
        done |= set(spelt)
    if not any(node.domain == PREVIEW for graph in model.graphs() for node in graph):
        model.opset_imports.pop(PREVIEW, None)
    return done


def _has_a_body_only(node: ir.Node) -> bool:
    """Whether a node is of ONNX's own, and of no operator that runtimes have."""
    return node.domain == PREVIEW or (node.domain == "" and _is_newer(node.op_type))


def _says_the_same(node: ir.Node, version: int) -> bool:
    """Whether a node of opset ``version`` is one of opset 21 with the same meaning."""
    try:
        old, new = _schema(node.op_type, OPSET), _schema(node.op_type, version)
    except SchemaError:
        return False
    if old.since_version == new.since_version:
        return True
    if node.op_type == "Mod" and not node.attributes.get_int("fmod", 0) and _is_float(node.inputs[0]):
        return False  # a remainder of floats that takes the divisor's sign came with 28
    gained = set(node.attributes) - set(old.attributes)
    return all(is_default(node, name, new) for name in gained) and _typed(node, old)


def _is_float(value: ir.Value | None) -> bool:
    return value is not None and value.dtype is not None and value.dtype.is_floating_point()


def is_default(node: ir.Node, name: str, schema: OpSchema) -> bool:
    """Whether leaving the attribute out says what it says: its default, or the type that the node has anyway."""
    value = node.attributes[name].value
    if name == "output_dtype" and len(node.inputs) > 1 and node.inputs[1] is not None:
        scale = node.inputs[1].dtype
        return value == 0 or (scale is not None and value == scale.value)
    if name == "precision":
        return value in (0, ir.DataType.FLOAT.value)
    default = schema.attributes[name].default_value if name in schema.attributes else None
    return default is not None and bool(default.name) and ir.serde.deserialize_attribute(default).value == value


def _typed(node: ir.Node, schema: OpSchema) -> bool:
    """Whether opset 21 has the operator for these types; an unknown type is taken for one it has."""
    allowed = {c.type_param_str: set(c.allowed_type_strs) for c in schema.type_constraints}
    bound: dict[str, str] = {}
    for values, formals in ((node.inputs, schema.inputs), (node.outputs, schema.outputs)):
        for index, value in enumerate(values):
            dtype = None if value is None else value.dtype
            formal = formals[min(index, len(formals) - 1)].type_str if formals else ""
            if dtype is None or formal not in allowed:
                continue
            name = f"tensor({dtype.name.lower()})"
            variadic = formals[min(index, len(formals) - 1)].option == OpSchema.FormalParameterOption.Variadic
            if name not in allowed[formal] or (not variadic and bound.setdefault(formal, name) != name):
                return False
    return True
