"""A library without strongly typed networks gets what each node computes in as flags and constraints."""

from __future__ import annotations

import copy
from pathlib import Path

import onnx
import onnx.parser
import pytest

from engines.tensorrt import differences
from engines.tensorrt.builder.blame import BlamedGraph
from engines.tensorrt.builder.layer_types import state_types
from engines.tensorrt.builder.node_layers import nodes_in_name, nodes_of_layers
from engines.tensorrt.differences import network_flags, prepare_config
from tests.engines.tensorrt.old_network import Config, DataType, Layer, Network, Tensor, layer, library_of

GRAPH = """<ir_version: 8, opset_import: ["" : 17]>
g (float[N,8] x) => (float[N,8] y, int64[N] k)
<float s = {0.1}, int8 z = {0}, float[8,8] w = {%s}, float eps = {1.0}> {
    [q] xq = QuantizeLinear(x, s, z)
    [dq] xd = DequantizeLinear(xq, s, z)
    [fc] h = MatMul(xd, w)
    [fc_1] i = Add(h, eps)
    [soft] j = Softmax(i)
    [top] k = ArgMax<axis=1,keepdims=0>(j)
    [out] y = Mul(j, eps)
}""".replace("%s", ", ".join(["0"] * 64))


@pytest.fixture
def graph(tmp_path: Path) -> BlamedGraph:
    path = tmp_path / "model.onnx"
    onnx.save(onnx.parser.parse_model(GRAPH), path)
    return BlamedGraph(path)


LAYERS = [
    layer("q_quantize_scale_node", "QUANTIZE", "xq", dtype="INT8"),
    layer("dq_dequantize_scale_node", "DEQUANTIZE", "xd"),
    layer("(Unnamed Layer* 2) [Shuffle]", "SHUFFLE", "(Unnamed Layer* 2) [Shuffle]_output"),
    layer("fc", "CONVOLUTION", "fc_before"),
    layer("(Unnamed Layer* 4) [Shuffle]", "SHUFFLE", "h"),
    layer("fc_1", "ELEMENTWISE", "i"),
    layer("soft_7", "SOFTMAX", "j"),
    layer("top", "ELEMENTWISE", "k", dtype="INT32"),
    layer("eps_helper", "CONSTANT", "eps_output"),
    layer("out", "ELEMENTWISE", "y", network_output=True),
]
NODES = [("q",), ("dq",), ("fc",), ("fc",), ("fc",), ("fc_1",), ("soft",), ("top",), ("out",), ("out",)]


def test_layers_of_the_old_parser_find_their_nodes(graph: BlamedGraph) -> None:
    """By name, by a name with a number or a suffix behind it, by what they make; helpers by the layer they help."""
    assert nodes_of_layers(library_of(), LAYERS, graph) == NODES


@pytest.mark.parametrize(
    ("name", "nodes"),
    [
        ("w + q_quantize_scale_node + fc + PWN(fc_1)", ("q", "fc", "fc_1")),
        ("PWN(PWN(soft), out)", ("soft", "out")),
        ("{ForeignNode[fc...soft]}", ("fc", "soft")),
        ("Reformatting CopyNode for Input Tensor 0 to fc", ()),
        ("fc || soft", ("fc", "soft")),
        ("out", ("out",)),
    ],
)
def test_nodes_are_read_from_the_name_of_an_engines_layer(
    graph: BlamedGraph, name: str, nodes: tuple[str, ...]
) -> None:
    assert nodes_in_name(name, graph) == nodes


def stated(
    types: dict[str, str], version: int = 0, given: str = "FLOAT"
) -> tuple[Config, list[Layer], tuple[str, ...]]:
    library, config = library_of(version), Config()
    layers = copy.deepcopy(LAYERS)
    notes = state_types(library, Network([Tensor("x", DataType[given])]), config, layers, NODES, types)
    return config, layers, notes


def test_what_must_stay_fp32_is_stated_and_obeyed() -> None:
    config, layers, notes = stated({"fc": "int8", "fc_1": "fp16", "soft": "fp32", "top": "fp32", "out": "fp32"})
    flags = library_of().module.BuilderFlag
    assert config.flags == {flags.FP16, flags.INT8, flags.OBEY_PRECISION_CONSTRAINTS}
    held = {one.name: one.types for one in layers if one.precision is DataType.FLOAT}
    assert held == {"soft_7": {0: DataType.FLOAT}, "out": {}}, (
        "neither integers nor constants; the output keeps its type"
    )
    assert notes == ("2 layers are held in FP32, as the precision plan says",)


def test_bf16_which_this_library_lacks_is_held_in_fp32() -> None:
    _, layers, _ = stated({"fc_1": "fp16", "soft": "bf16"})
    assert [one.name for one in layers if one.precision] == ["soft_7"]


def test_an_fp32_graph_needs_no_constraints() -> None:
    config, layers, notes = stated({"fc": "int8", "fc_1": "fp32", "soft": "fp32"})
    assert config.flags == {library_of().module.BuilderFlag.INT8}
    assert notes == () and not any(one.precision for one in layers)


def test_float16_at_the_interface_alone_wants_the_flag_and_lets_nothing_become_half() -> None:
    config, layers, _ = stated({"fc_1": "fp32", "soft": "fp32", "out": "fp32"}, given="HALF")
    assert library_of().module.BuilderFlag.FP16 in config.flags
    assert [one.name for one in layers if one.precision] == ["fc_1", "soft_7", "out"]


def test_where_all_may_be_half_nothing_is_to_be_obeyed() -> None:
    config, layers, notes = stated({"fc": "int8", "fc_1": "fp16", "soft": "fp16", "out": "fp16"})
    flags = library_of().module.BuilderFlag
    assert config.flags == {flags.FP16, flags.INT8} and notes == ()
    assert not any(one.precision for one in layers)


@pytest.mark.parametrize("version", [2, 5, 6])
def test_a_strongly_typed_library_is_told_nothing(version: int) -> None:
    config, layers, notes = stated({"soft": "fp32", "fc_1": "fp16"}, version)
    assert (config.flags, notes) == (set(), ())
    assert not any(one.precision for one in layers)


@pytest.mark.parametrize(
    ("version", "flags"),
    [
        (0, {"EXPLICIT_BATCH"}),
        (2, {"STRONGLY_TYPED"}),
        (5, {"STRONGLY_TYPED"}),
        (6, {"STRONGLY_TYPED"}),
    ],
)
def test_networks_are_created_with_the_flags_that_the_version_knows(version: int, flags: set[str]) -> None:
    """Without explicit batch 8.x takes the first axis away."""
    names = library_of(version).module.NetworkDefinitionCreationFlag.__members__
    assert network_flags(library_of(version)) == sum(1 << names[name] for name in flags)


@pytest.mark.parametrize(
    ("version", "mapped", "restricted"),
    [
        (0, "libc.so.6", True),
        (0, "/x/libcublas.so.11\n/x/libcudnn.so.8", False),
        (1, "libc.so.6", True),
        (2, "libc.so.6", False),  # has no external tactics to switch off
    ],
)
def test_without_cublas_an_old_builder_keeps_to_its_own_kernels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: int, mapped: str, restricted: bool
) -> None:
    (tmp_path / "maps").write_text(mapped)
    monkeypatch.setattr(differences, "_MAPS", tmp_path / "maps")
    library, config = library_of(version), Config()
    note = prepare_config(library, config)
    assert bool(note) == restricted
    assert (config.tactics is not None) == restricted
    if restricted:
        sources, features = library.module.TacticSource, library.module.PreviewFeature
        assert config.tactics == 1 << sources.EDGE_MASK_CONVOLUTIONS | 1 << sources.JIT_CONVOLUTIONS
        assert config.previews[features.DISABLE_EXTERNAL_TACTIC_SOURCES_FOR_CORE_0805]
    if version == 1:  # 8.6; later ones share profiles by themselves
        assert config.previews[library.module.PreviewFeature.PROFILE_SHARING_0806]
