"""Reading a layer table: roles, counts, flags and differences."""

from __future__ import annotations

from engines.layers import UNTOLD, LayerInfo, compare_layers, count_layers, fallen_back, flag, layer_notes
from engines.tensorrt.builder.build_log import read_layers


def layer(nodes: tuple[str, ...], kind: str = "correlation", types: str = "int8 float16", role: str = "compute"):
    reads, writes = types.split()
    return LayerInfo("+".join(nodes) or "inserted", kind, (reads,), (), (writes,), "", nodes, role)  # type: ignore[arg-type]


TABLE = (
    LayerInfo("w", "wait", (), (), (), "", (), "sync"),
    layer(("q",), "kgen", "float16 int8", "quantize"),
    layer(("conv1", "relu1")),
    layer(("conv2",), types="float16 float16"),
    layer((), "kgen", "float16 float16", "reformat"),
)


def test_counts_leave_synchronisation_out() -> None:
    counts = count_layers(TABLE)
    assert counts.kernels == 4
    assert counts.kinds == {"kgen": 2, "correlation": 2}
    assert counts.types["int8 → float16"] == 1
    assert (counts.int8, counts.reformats, counts.unfused) == (1, 1, 1)


def test_what_an_engine_could_do_without_is_flagged() -> None:
    assert [flag(found) for found in TABLE] == ["", "unfused Q/DQ: quantize", "", "", "reformat"]
    quantize, reformat = layer_notes(TABLE)
    assert quantize == "kernels that only quantize or dequantize: 1 (nodes q)"
    assert "reformats" in reformat


def test_roles_come_from_the_graphs_own_nodes() -> None:
    line = "Name: {n}, LayerType: {k}, Inputs: [], Outputs: [], TacticName: , StreamId: 0, Metadata: {m}"
    rows = [
        ("a", "kgen", "[ONNX Layer: q1]"),
        ("b", "kgen", "[ONNX Layer: q1][ONNX Layer: d1]"),
        ("c", "gemm", "[ONNX Layer: d1][ONNX Layer: fc]"),
        ("d", "kgen", ""),
        ("e", "signal", ""),
    ]
    text = "Layers:\n" + "\n".join(line.format(n=n, k=k, m=m) for n, k, m in rows) + "\n\nI/O Tensors:\n"
    roles = [found.role for found in read_layers([text], quantizers=["q1"], dequantizers=["d1"])]
    assert roles == ["quantize", "round trip", "compute", "reformat", "sync"]


def test_a_layer_that_does_not_tell_what_it_reads_has_not_fallen_back() -> None:
    table = (*TABLE, layer(("pool",), types=f"{UNTOLD} float16"))
    assert fallen_back(["conv1", "conv2", "pool"], table) == (["conv2"], 2)


def test_differences_name_the_node_and_both_ways() -> None:
    other = (
        layer(("conv1",)),
        layer(("relu1",), "kgen", "float16 float16"),
        layer(("conv2",), types="float16 float16"),
    )
    found = compare_layers(TABLE, other)
    changes = {change.node: (change.first, change.second) for change in found.changes}
    assert set(changes) == {"q", "conv1", "relu1"}
    assert changes["conv1"] == ("correlation int8 → float16 with relu1", "correlation int8 → float16")
    assert changes["q"][1] == ""


def test_equal_tables_do_not_differ() -> None:
    assert compare_layers(TABLE, TABLE).changes == []
