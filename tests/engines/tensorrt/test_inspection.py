"""The layer table from the engine inspector's JSON, as 8.5 and as 10 and later write it."""

from __future__ import annotations

import json

from engines.layers import computes_int8
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


def _untold(name: str, kind: str, reads: str, writes: str, tactic: str = "", **weights: str) -> dict[str, object]:
    """A layer as 8.5.3.1 described it on an H200: no type of any activation."""
    tensors = {
        side: [{"Name": n, "Format/Datatype": "N/A due to dynamic shapes"} for n in names.split()]
        for side, names in (("Inputs", reads), ("Outputs", writes))
    }
    counted = {part: {"Type": dtype, "Count": 64} for part, dtype in weights.items()}
    return {"Name": name, "LayerType": kind, **tensors, "TacticName": tactic, **counted}


IMPLICIT = "sm80_xmma_fprop_implicit_gemm_interleaved"
UNTOLD_TYPES = [
    _untold("input/Q", "Reformat", "input", "input/Q:0"),
    _untold("stem/W + stem/W/Q + stem + relu + pool", "CaskConvActPool", "input/Q:0", "pool/Q:0", ConvWeights="Int8"),
    _untold("c1", "CaskConvolution", "pool/Q:0", "c1/Q:0", f"{IMPLICIT}_i8i8_i8i32_f32_nchw", Weights="Int8"),
    _untold("c3", "CaskConvolution", "c1/Q:0", "c3:0", f"{IMPLICIT}_i8f16_i8i32_f32_nchw", Weights="Int8"),
    _untold("skip + add", "CaskConvolution", "pool/Q:0 c3:0", "y:0", f"{IMPLICIT}_i8f16_i8i32_f32_x", Weights="Int8"),
    _untold("pool", "CaskPooling", "y:0", "p:0", "sm50_xmma_pooling_coalescedC_NHWC_kMAX_3_False"),
    _untold("head", "CaskConvolution", "p:0", "logits", "sm90_xmma_fprop_implicit_gemm_f32f32_tf32f32_f32_nhwckrsc_x"),
    _untold("copied_squeeze", "NoOp", "logits", "out"),
    _untold("c1 [profile 1]", "CaskConvolution", "pool/Q:0", "c1/Q:0", f"{IMPLICIT}_i8i8_i8i32_f32_nchw"),
]


def test_types_that_are_not_told_are_found_out_and_each_layer_is_there_once() -> None:
    roles = LayerRoles(frozenset({"input/Q"}))
    named = {"input/Q": ("input/Q",), **{n: (n,) for n in ("c1", "c3", "skip + add", "pool", "head")}}
    named |= {UNTOLD_TYPES[1]["Name"]: ("stem", "relu")}
    layers = read_inspection(json.dumps({"Layers": UNTOLD_TYPES}), roles, lambda name: named.get(name, ()))
    assert [(layer.inputs, layer.outputs) for layer in layers] == [
        (("?",), ("int8",)),
        (("int8",), ("int8",)),
        (("int8",), ("int8",)),
        (("int8",), ("float16",)),
        (("int8", "float16"), ("float16",)),
        (("float16",), ("float32",)),
        (("float32",), ("float32",)),
        (("float32",), ("?",)),
    ]
    assert layers[-1].role == "sync" and sum(computes_int8(layer) for layer in layers) == 4


def test_a_stated_type_holds_against_what_a_kernel_is_called() -> None:
    first = _untold("c1", "CaskConvolution", "x", "y", f"{IMPLICIT}_i8i8_i8i32_f32_nchw", Weights="Int8")
    second = _untold("pool", "CaskPooling", "y", "z")
    second["Inputs"] = [{"Name": "y", "Format/Datatype": "Row major linear FP16 format"}]
    for described in ([first, second], [second, first]):
        layers = read_inspection(json.dumps({"Layers": described}), LayerRoles(), lambda name: (name,))
        types = {layer.name: (layer.inputs, layer.outputs) for layer in layers}
        assert types == {"c1": (("int8",), ("float16",)), "pool": (("float16",), ("?",))}
