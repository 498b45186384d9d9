from __future__ import annotations

from engines.layers import BuildMemory, layers_of_nodes
from engines.tensorrt.builder.build_log import read_layers, read_memory, read_sparse_tactics, read_sparsity

RTX = (
    "Layers:\n"
    "Name: __mye28_0_myl0_0, LayerType: shape_call, Inputs: [], Constants: [], Outputs: [], TacticName: , StreamId: 0, "
    "Metadata: \n"
    "Name: /c.0/Conv_myl0_2, LayerType: correlation, Inputs: [ { Name: x, Dimensions: [-1,3,8,8], "
    "Strides: [192,64,8,1], StrideOrder: [3,2,1,0], Datatype: Int8, Format: (Linear) Row major linear format }, { "
    "Name: skip, Dimensions: [1], Strides: [1], StrideOrder: [0], Datatype: Half, "
    "Format: (Linear) Row major linear format }], "
    "Constants: [ { Name: w, Dimensions: [4,3,3,3], Strides: [27,9,3,1], StrideOrder: [3,2,1,0], Datatype: Int8, "
    "Format: (NHWC) Channel major format }], "
    "Outputs: [ { Name: y, Dimensions: [-1,4,8,8], Strides: [256,64,8,1], StrideOrder: [3,2,1,0], "
    "Datatype: Float, Format: (Linear) Row major linear format }], TacticName: __myelin_CASK_STUB, StreamId: 0, "
    'Metadata: [ONNX Layer: /c.0/Conv][ONNX Layer: act[0], "odd"]\n'
    "\n"
    "I/O Tensors:\n Name: x, IOMode: Input, DataType: Float\n"
)

TENSORRT_10 = (
    "Layers:\n"
    "Name: conv1 + relu1, LayerType: CaskConvolution, Inputs: [ { Name: x, Location: Device, "
    "Dimensions: [8,3,224,224], Format/Datatype: Thirty-two wide channel vectorized row major Int8 format }], "
    "Outputs: [ { Name: y, Location: Device, "
    "Dimensions: [8,64,112,112], Format/Datatype: Channel major FP16 format where channel % 8 == 0 }], "
    "ParameterType: Convolution, Kernel: [7,7], TacticName: sm80_xmma_fprop, StreamId: 0, Metadata: "
    "[ONNX Layer: conv1]\x1e[ONNX Layer: relu1]\n"
    "\nBindings:\nx\ny\n"
)


def test_reads_types_and_fused_nodes() -> None:
    shape, conv = read_layers(["noise", RTX])
    assert (shape.kind, shape.inputs, shape.onnx_nodes) == ("shape_call", (), ())
    assert conv.kind == "correlation"
    assert conv.inputs == ("int8", "float16")
    assert conv.constants == ("int8",)
    assert conv.outputs == ("float32",)
    assert conv.tactic == "__myelin_CASK_STUB"
    assert conv.onnx_nodes == ("/c.0/Conv", 'act[0], "odd"')


def test_reads_the_form_of_tensorrt_10() -> None:
    (layer,) = read_layers([TENSORRT_10])
    assert layer.name == "conv1 + relu1"
    assert (layer.inputs, layer.constants, layer.outputs) == (("int8",), (), ("float16",))
    assert layer.tactic == "sm80_xmma_fprop"
    assert layer.onnx_nodes == ("conv1", "relu1")


def test_no_table_gives_no_layers() -> None:
    assert read_layers(["Layers: 12", "Engine generation completed"]) == ()


def test_nodes_lead_to_their_layers() -> None:
    layers = read_layers([RTX])
    assert layers_of_nodes(layers)["/c.0/Conv"] == [layers[1]]


def test_the_last_memory_figure_counts() -> None:
    messages = ["Total Weights Memory: 10 bytes", "Max Scratch Memory: 5 bytes", "Total Weights Memory: 13952128 bytes"]
    assert read_memory(messages) == BuildMemory(weights_bytes=13952128, scratch_bytes=5)


def test_sparsity_is_in_the_builders_own_words() -> None:
    found = "(Sparsity) Found 52 layer(s) eligible to use sparse tactics: conv1"
    assert read_sparsity([found, found, "Sparsity unrelated"]) == (found,)


def test_sparse_tactics_are_read_from_the_words_of_every_release() -> None:
    eight = [
        "(Sparsity) Layers eligible for sparse math: conv1, conv2 + relu2, fc",
        "(Sparsity) TRT inference plan picked sparse implementation for layers: conv2 + relu2",
    ]
    found = read_sparse_tactics(eight)
    assert found is not None and (found.eligible, found.chosen, found.layers) == (3, 1, ("conv2 + relu2",))
    none_taken = read_sparse_tactics(
        [eight[0], "(Sparsity) TRT inference plan picked sparse implementation for layers:"]
    )
    assert none_taken is not None and none_taken.sentence == "0 of 3 eligible layers took a sparse tactic"
    ten = [
        "(Sparsity) Found 39 layer(s) eligible to use sparse tactics: a, b",
        "(Sparsity) Chose 5 layer(s) using sparse tactics: a",
        "(Sparsity) Found 39 layer(s) eligible to use sparse tactics",
        "(Sparsity) Chose 2 layer(s) using sparse tactics: a, b",
    ]
    found = read_sparse_tactics(ten)
    assert found is not None and found.sentence == "2 of 39 eligible layers took a sparse tactic: a, b"
    assert read_sparse_tactics(["Sparsity unrelated"]) is None
