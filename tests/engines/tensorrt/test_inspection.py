"""The layer table from the engine inspector's JSON, as 8.5 and as 10 and later write it."""

from __future__ import annotations

import json

from engines.tensorrt.builder.build_log import LayerRoles, type_named
from engines.tensorrt.builder.inspection import read_inspection

OLD = {
    "Layers": [
        {
            "Name": "Reformatting CopyNode for Input Tensor 0 to conv1",
            "LayerType": "Reformat",
            "Inputs": [{"Name": "x", "Format/Datatype": "Row major linear FP32"}],
            "Outputs": [{"Name": "x'", "Format/Datatype": "Four wide channel vectorized row major Int8 format"}],
            "TacticName": "",
        },
        {
            "Name": "conv1.weight + q_quantize_scale_node + conv1 + PWN(relu1)",
            "LayerType": "CaskConvolution",
            "Inputs": [{"Name": "x'", "Format/Datatype": "Channel major INT8 format where channel == 4"}],
            "Outputs": [{"Name": "y", "Format/Datatype": "Row major linear FP16 format"}],
            "Weights": {"Type": "Int8", "Count": 864},
            "Bias": {"Type": "Float", "Count": 32},
            "TacticName": "sm90_xmma_fprop",
        },
        {"Name": "dq", "LayerType": "Scale", "Inputs": [], "Outputs": [], "Weights": {"Type": "Float", "Count": 0}},
    ],
    "Bindings": ["x", "y"],
}
NEW = {
    "Layers": [
        {
            "Name": "conv1_myl0_2",
            "LayerType": "correlation",
            "Inputs": [{"Name": "x", "Datatype": "Int8", "Format": "Row major linear format"}],
            "Constants": [{"Name": "w", "Datatype": "Half"}],
            "Outputs": [{"Name": "y", "Datatype": "BF16"}],
            "TacticName": "t",
            "Metadata": "[ONNX Layer: conv1]\u001e[ONNX Layer: relu1]",
        }
    ],
    "I/O Tensors": [],
}
ROLES = LayerRoles(frozenset({"q"}), frozenset({"dq"}))
NAMED = {
    "conv1.weight + q_quantize_scale_node + conv1 + PWN(relu1)": ("q", "conv1", "relu1"),
    "dq": ("dq",),
}


def test_the_old_inspector_tells_types_in_words_and_nodes_by_name() -> None:
    copy, conv, dequantize = read_inspection(json.dumps(OLD), ROLES, lambda name: NAMED.get(name, ()))
    assert (copy.role, copy.inputs, copy.outputs, copy.onnx_nodes) == ("reformat", ("float32",), ("int8",), ())
    assert (conv.role, conv.inputs, conv.outputs, conv.constants) == (
        "compute",
        ("int8",),
        ("float16",),
        ("int8", "float32"),
    )
    assert conv.onnx_nodes == ("q", "conv1", "relu1")
    assert (dequantize.role, dequantize.constants) == ("dequantize", ())


def test_the_new_inspector_tells_types_by_name_and_nodes_as_metadata() -> None:
    (conv,) = read_inspection(json.dumps(NEW), ROLES, lambda name: ("never",))
    assert (conv.kind, conv.inputs, conv.constants, conv.outputs) == (
        "correlation",
        ("int8",),
        ("float16",),
        ("bfloat16",),
    )
    assert conv.onnx_nodes == ("conv1", "relu1")


def test_what_describes_no_layer_gives_no_table() -> None:
    for text in ("", "no JSON", "[]", json.dumps({"Layers": ["conv1", "relu1"]})):
        assert read_inspection(text, ROLES, lambda name: ()) == ()


def test_types_have_one_name_however_a_version_spells_them() -> None:
    spelled = {
        "int8": ("INT8", "Int8", "Row major INT8 format where column stride % 64 == 0"),
        "float16": ("Half", "FP16", "Two wide channel vectorized row major FP16 format (kCHW2)"),
        "float32": ("Float", "Row major linear FP32 format (kLINEAR)"),
        "int32": ("Int32", "Row major linear INT32 format (kLINEAR)"),
        "bool": ("Bool", "Row major linear BOOL"),
        "float8": ("FP8",),
    }
    for name, spellings in spelled.items():
        assert {type_named(words) for words in spellings} == {name}
