"""Operators that TensorRT's parser lacks, spelt out by the function body that the ONNX standard defines them with, or
by one of our own.

Attention of opset 23 and newer becomes the products and the softmax that TensorRT fuses itself and that quantization
can reach. Of 1,884 node tests of onnx 1.23 each operator here was refused by TensorRT-RTX 1.7 and taken in this form.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import onnx
import onnx_ir as ir
import onnx_ir.passes.common as common

from graphs.reading.operators import is_standard
from graphs.reading.shapes import infer_shapes
from optimizer.passes.base import PassResult
from optimizer.passes.spelling_out.affine_grid import affine_grid_body
from optimizer.passes.spelling_out.bodies import DOMAIN, Bodies

_LIKE_TODAYS = 18
"""Bodies of this opset and newer hold in every later one: what they are made of gained types since, not meanings."""


def _always(_: ir.Node) -> bool:
    return True


def _gives_statistics(node: ir.Node) -> bool:
    """Whether more than the first output is asked for, which TensorRT's own operator does not give."""
    return any(output.uses() or output.is_graph_output() for output in node.outputs[1:])


def _of_unknown_size(node: ir.Node) -> bool:
    """Whether the size of what comes out is known only when the graph runs."""
    shape = node.inputs[0].shape if node.inputs and node.inputs[0] is not None else None
    return shape is None or not all(isinstance(size, int) for size in shape)


_SPELT: dict[str, Callable[[ir.Node], bool]] = {
    "Attention": _always,
    "LinearAttention": _always,
    "CausalConvWithState": _always,
    "AffineGrid": _always,
    "CenterCropPad": _always,
    "NegativeLogLikelihoodLoss": _always,
    "LayerNormalization": _gives_statistics,
    "EyeLike": _of_unknown_size,
}


class SpellOut:
    """Replaces such nodes by their bodies, for the types they are used with. One whose body is not known stays."""

    name = "spell out operators"

    def apply(self, model: ir.Model) -> PassResult:
        spelt = spell_out(model, _is_spelt)
        names = ", ".join(sorted(set(spelt)))
        note = f"{len(spelt)} operators spelt out by their definition: {names}"
        return PassResult(len(spelt), (note,) if spelt else ())


def spell_out(model: ir.Model, wanted: Callable[[ir.Node], bool], own: Bodies | None = None) -> list[str]:
    """Replace the nodes that are ``wanted`` by their bodies, in place; returns the operators that were.

    ``own`` are bodies by op type, which go before the standard's; those of this file where none are given.
    """
    found = [node for graph in model.graphs() for node in graph if wanted(node)]
    if not found:
        return []
    infer_shapes(model)  # a body may depend on the types of the inputs
    spelt: list[str] = []
    for node in found:
        body = _body(node, model.opset_imports, _OWN_BODIES if own is None else own)
        if body is not None:
            spelt.append(node.op_type)
            _call(model, node, body, len(spelt))
    if spelt:
        common.InlinePass()(model)
        model.functions.clear()
        model.opset_imports.pop(DOMAIN, None)
    return spelt


def _is_spelt(node: ir.Node) -> bool:
    return is_standard(node) and node.op_type in _SPELT and _SPELT[node.op_type](node)


def _body(node: ir.Node, opsets: Mapping[str, int], known: Bodies) -> ir.Function | None:
    """The operator's body in the model's opset; it may depend on the node's attributes and on its inputs' types."""
    opset = opsets.get("", 0)
    if node.op_type in known:
        return known[node.op_type](node, opset)
    own = opset if node.domain == "" else opsets.get(node.domain, 0)
    try:
        schema: Any = onnx.defs.get_schema(node.op_type, own, node.domain)  # its stubs lack what concerns functions
    except onnx.defs.SchemaError:
        return None
    for name, attribute in schema.attributes.items():
        if name not in node.attributes and attribute.default_value.type != onnx.AttributeProto.UNDEFINED:
            node.attributes[name] = ir.serde.deserialize_attribute(attribute.default_value)
    version = _version(schema, own)
    if not version or (node.domain == "" and version < _LIKE_TODAYS):
        return None
    if schema.has_context_dependent_function:
        types = [_type(value) for value in node.inputs]
        if None in types:
            return None
        proto = ir.to_proto(node).SerializeToString()
        serialized = schema.get_context_dependent_function_with_opset_version(version, proto, types)
    elif schema.has_function:
        serialized = schema.get_function_with_opset_version(version)
    else:
        return None
    function = onnx.FunctionProto.FromString(serialized)
    if any(entry.domain == "" and entry.version > opset for entry in function.opset_import):
        return None  # written in operators that the model's opset has not
    _give_outputs(function, len(node.outputs))
    body: ir.Function = ir.from_proto(function)
    body.opset_imports[""] = opset
    return body


def _eye_like(node: ir.Node, opset: int) -> ir.Function | None:
    """Where a row's number, moved by ``k``, is the column's: the standard gives this operator no body."""
    k, dtype = node.attributes.get("k"), node.attributes.get("dtype")
    source = node.inputs[0].dtype if node.inputs[0] is not None else None
    to = ir.DataType(dtype.as_int()) if dtype is not None else source
    if to is None:
        return None
    text = f"""<opset_import: ["" : {opset}], domain: "{DOMAIN}"> EyeLike (x) => (y) {{
        zero = Constant<value_int = 0>()
        one = Constant<value_int = 1>()
        k = Constant<value_int = {k.as_int() if k is not None else 0}>()
        columns_axis = Constant<value_ints = [1]>()
        size = Shape(x)
        rows = Gather(size, zero)
        columns = Gather(size, one)
        row = Range(zero, rows, one)
        moved = Add(row, k)
        down = Unsqueeze(moved, columns_axis)
        across = Range(zero, columns, one)
        same = Equal(down, across)
        y = Cast<to = {to.value}>(same)
    }}"""
    return ir.serde.deserialize_function(onnx.parser.parse_function(text))


def _affine_grid(node: ir.Node, opset: int) -> ir.Function | None:
    return affine_grid_body(node, opset, DOMAIN)


_OWN_BODIES: Bodies = {
    "EyeLike": _eye_like,
    "AffineGrid": _affine_grid,
}
"""Of operators that the standard defines by no function, or by one that does not run."""


def _give_outputs(function: onnx.FunctionProto, count: int) -> None:
    """As many outputs as the node has. One that it does not ask for nothing makes: a constant nobody reads does."""
    del function.output[count:]
    made = {name for node in function.node for name in node.output} | set(function.input)
    for index, name in enumerate(function.output):
        if name not in made or not name:
            function.output[index] = name or f"unused_{index}"
            function.node.append(onnx.helper.make_node("Constant", [], [function.output[index]], value_float=0.0))


def _version(schema: Any, opset: int) -> int:
    """The newest opset not after ``opset`` that a body is written for; 0 where there is none."""
    versions = [*schema.function_opset_versions, *schema.context_dependent_function_opset_versions]
    return max((int(version) for version in versions if version <= opset), default=0)


def _type(value: ir.Value | None) -> bytes | None:
    """A serialized ``TypeProto``; empty for an input that is left out, None where the type is not known."""
    if value is None:
        return bytes(onnx.TypeProto().SerializeToString())
    if value.dtype is None:
        return None
    found = onnx.TypeProto()
    found.tensor_type.elem_type = value.dtype.value
    if value.shape is not None:
        for size in value.shape:
            dimension = found.tensor_type.shape.dim.add()
            if isinstance(size, int):
                dimension.dim_value = size
    return bytes(found.SerializeToString())


def _call(model: ir.Model, node: ir.Node, body: ir.Function, number: int) -> None:
    """Make the node a call of a function of its own, which is inlined afterwards."""
    name = f"{node.op_type}_{number}"
    for attribute in list(node.attributes.values()):
        if attribute.type == ir.AttributeType.GRAPH:  # the body was made for it and holds its nodes
            node.attributes.pop(attribute.name)
    read = [attribute for attribute in body.attributes.values() if attribute.type != ir.AttributeType.GRAPH]
    function = ir.Function(DOMAIN, name, graph=body.graph, attributes=read)
    model.functions[function.identifier()] = function
    model.opset_imports[DOMAIN] = 1
    for index, output in enumerate(node.outputs):  # what is left out would be without a name inside the graph, too
        output.name = output.name or f"{node.name}_unused_{index}"
    node.domain, node.op_type, node.overload = DOMAIN, name, ""
