"""Opset conversion, upwards, without loading weights and with subgraphs included.

Opset 21 is where graphs are brought to: FP16 scales in Q/DQ need 19 and block quantization 21, ONNX Runtime 1.20 and
TensorRT 10.12 and newer all read it. A newer model keeps its opset.

Three converters share the way: onnx's C++ converter below 13 (it does not enter subgraphs, which matter from 13 on in
what exporters write), the adapters below from 13 to 18, onnxscript's from 18 on. Source of the list of changes: the
ONNX operator changelog, https://github.com/onnx/onnx/blob/main/docs/Changelog.md.
"""

from __future__ import annotations

import onnx
import onnx_ir as ir
import onnx_ir.passes.common as common
from onnxscript import version_converter

from engines.errors import BadInput

OPSET = 21
IR_VERSION = 10
NEWEST_OPSET = onnx.defs.onnx_opset_version()

_AXES_TO_INPUT = {
    *("ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2"),
    *("ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare"),
}


def convert_to_current(model: ir.Model, where: str) -> list[str]:
    """Raise the default opset to at least 21 and the IR version to at least 10, in place; returns notes.

    Raises ``BadInput`` when the model declares no default opset, one newer than the onnx package knows, or holds an
    operator that cannot be converted.
    """
    version = _opset(model, where)
    model.ir_version = max(model.ir_version, IR_VERSION)
    if version >= OPSET:
        return []
    try:
        if version < 13:
            _convert_with_onnx(model, 13)
        if version < 18:
            _convert_13_to_18(model)
        version_converter.ConvertVersionPass(target_version=OPSET)(model)
    except (RuntimeError, ValueError, TypeError, AttributeError, KeyError, ir.passes.PassError) as error:
        raise BadInput(
            f"opset {version} cannot be converted to {OPSET}: {error}",
            where=where,
            fix=f"export the model with opset {OPSET}",
        ) from error
    if model.opset_imports.get("") != OPSET:
        raise BadInput(f"opset {version} cannot be converted to {OPSET}", where=where, fix=f"export with opset {OPSET}")
    return [f"opset {version} converted to {OPSET}"]


def _opset(model: ir.Model, where: str) -> int:
    imports = model.opset_imports
    if "ai.onnx" in imports:
        imports[""] = max(imports.pop("ai.onnx"), imports.get("", 0))
    version = imports.get("", 0)
    if version == 0:
        imports[""] = OPSET
        return OPSET
    if version > NEWEST_OPSET:
        raise BadInput(
            f"the model uses opset {version}",
            where=where,
            expected=f"at most {NEWEST_OPSET}",
            fix="install a newer onnx package, or export with an older opset",
        )
    return version


def _convert_with_onnx(model: ir.Model, target: int) -> None:
    """The C++ converter, on a graph whose large initializers became inputs for the moment."""
    tensors = {name: value.const_value for name, value in model.graph.initializers.items()}
    large = {name: tensor for name, tensor in tensors.items() if tensor is not None and tensor.size > 64}
    skeleton = model.clone()
    for name, tensor in large.items():
        stand_in = skeleton.graph.initializers.pop(name)
        stand_in.shape, stand_in.dtype = ir.Shape(tensor.shape.numpy()), tensor.dtype
        stand_in.const_value = None
        skeleton.graph.inputs.append(stand_in)
    converted = ir.from_proto(onnx.version_converter.convert_version(ir.to_proto(skeleton), target))
    for weight in list(converted.graph.inputs):
        if weight.name in large:
            weight.const_value = large[weight.name]
            converted.graph.inputs.remove(weight)
            converted.graph.register_initializer(weight)
    common.RemoveInitializersFromInputsPass()(converted)
    model.graph = converted.graph
    model.opset_imports[""] = target


def _convert_13_to_18(model: ir.Model) -> None:
    for graph in model.graphs():
        for node in graph:
            if node.domain in ("", "ai.onnx"):
                _upgrade_node(node, model.opset_imports[""])
    for graph in model.graphs():
        graph.opset_imports[""] = 18
    model.opset_imports[""] = 18


def _upgrade_node(node: ir.Node, version: int) -> None:
    if node.op_type in _AXES_TO_INPUT and "axes" in node.attributes:
        axes = node.attributes.pop("axes").as_ints()
        node.resize_inputs(2)
        node.replace_input_with(1, _new_constant(node, axes))
    elif node.op_type == "Split" and len([v for v in node.inputs if v is not None]) == 1:
        node.attributes["num_outputs"] = ir.AttrInt64("num_outputs", len(node.outputs))
    elif node.op_type == "RoiAlign" and version < 16 and "coordinate_transformation_mode" not in node.attributes:
        mode = ir.AttrString("coordinate_transformation_mode", "output_half_pixel")
        node.attributes["coordinate_transformation_mode"] = mode


def _new_constant(node: ir.Node, values: object) -> ir.Value:
    tensor = ir.tensor(list(values), dtype=ir.DataType.INT64)  # type: ignore[call-overload]
    constant = ir.node("Constant", [], attributes={"value": tensor}, name=f"{node.name}_axes")
    constant.outputs[0].name = f"{node.name}_axes"
    assert node.graph is not None
    node.graph.insert_before(node, constant)
    return constant.outputs[0]
