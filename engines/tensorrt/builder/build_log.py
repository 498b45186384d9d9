"""Read the layer table out of a build log: kernels, their types, and the ONNX nodes fused into each.

The engine inspector needs a GPU. But with ``ProfilingVerbosity.DETAILED`` and a VERBOSE logger, a build ends with one
message that lists the whole engine, one layer a line::

    Layers:
    Name: conv1_myl0_2, LayerType: correlation, Inputs: [ { Name: x, Dimensions: [-1,3,8,8], ..., Datatype: Float,
    Format: ... }], Constants: [...], Outputs: [...], TacticName: ..., StreamId: 0,
    Metadata: [ONNX Layer: conv1][ONNX Layer: relu1]

    I/O Tensors:

TensorRT 10 writes ``Format/Datatype: Row major linear FP16 format`` where 11 and TensorRT-RTX write ``Datatype: Half``,
and 8 writes ``INT8`` where 10 writes ``Int8``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from engines.layers import UNTOLD, BuildMemory, LayerInfo, Role, SparseTactics

SYNCHRONISATION = frozenset({"signal", "wait", "shape_call", "NoOp"})
"""Layer kinds that launch no kernel; ``NoOp`` is a reshape or a copy that 8.5 could leave out."""

_TYPES = {
    "float": "float32",
    "fp32": "float32",
    "half": "float16",
    "fp16": "float16",
    "bf16": "bfloat16",
    "fp8": "float8",
    "fp4e2m1": "float4",
    "fp8ue8m0": "float8_e8m0",
    "fp4": "float4",
    "e8m0": "float8_e8m0",
    "n/a due to dynamic shapes": UNTOLD,  # 8.5
}
_LAYER = re.compile(r"Name: (?P<name>.*?), LayerType: (?P<kind>[\w./ -]+), Inputs: \[")
_TACTIC = re.compile(r"TacticName: (?P<tactic>.*?), StreamId: ")
_IN_WORDS = re.compile(r"\b(FP32|FP16|BF16|FP8|FP4|U?INT\d+|Bool)\b", re.IGNORECASE)
"""A type in the words for a format: ``Thirty-two wide channel vectorized row major Int8 format``."""
_DATATYPE = re.compile(r"[^/]Datatype: (\w+)(?=[,}\s])|Format/Datatype: ([^}]*)")
_METADATA = re.compile(r"Metadata: (.*)$")
_ONNX_SEPARATOR = re.compile(r"\][\x1e\x1f]?\[ONNX Layer: ")  # a node name may itself hold brackets
_SUBGRAPH = " | sub_graph"
_MEMORY = {
    "weights_bytes": "Total Weights Memory",
    "activation_bytes": "Total Activation Memory",
    "scratch_bytes": "Max Scratch Memory",
    "host_persistent_bytes": "Total Host Persistent Memory",
    "device_persistent_bytes": "Total Device Persistent Memory",
}


@dataclass(frozen=True)
class LayerRoles:
    """What a layer is there for, told from the graph's Q and DQ nodes by name."""

    quantizers: frozenset[str] = frozenset()
    dequantizers: frozenset[str] = frozenset()

    def of(self, kind: str, nodes: Collection[str]) -> Role:
        """The role of a layer of that kind that executes ``nodes``."""
        if kind in SYNCHRONISATION:
            return "sync"
        if not nodes:
            return "reformat"
        quantizes, dequantizes = self.quantizers.intersection(nodes), self.dequantizers.intersection(nodes)
        if set(nodes) - quantizes - dequantizes:
            return "compute"
        if quantizes and dequantizes:
            return "round trip"
        return "quantize" if quantizes else "dequantize"


def read_layers(
    messages: Iterable[str], quantizers: Collection[str] = (), dequantizers: Collection[str] = ()
) -> tuple[LayerInfo, ...]:
    """The layer table of a build's messages; empty when no message holds one.

    ``quantizers`` and ``dequantizers`` name the graph's Q and DQ nodes, by which layers of nothing else are told.
    """
    roles = LayerRoles(frozenset(quantizers), frozenset(dequantizers))
    for message in messages:
        start = message.find("Layers:\nName: ")
        if start >= 0:
            body = message[start + len("Layers:\n") :].partition("\nI/O Tensors:")[0].partition("\nBindings:")[0]
            return tuple(layer for line in body.split("\n") if (layer := _read_layer(line, roles)) is not None)
    return ()


def _read_layer(line: str, roles: LayerRoles) -> LayerInfo | None:
    match = _LAYER.match(line)
    if match is None:
        return None
    tactic, metadata = _TACTIC.search(line), _METADATA.search(line)
    nodes = onnx_nodes(metadata[1] if metadata else "")
    return LayerInfo(
        name=match["name"],
        kind=match["kind"],
        inputs=_types(_section(line, "Inputs")),
        constants=_types(_section(line, "Constants")),
        outputs=_types(_section(line, "Outputs")),
        tactic=tactic["tactic"] if tactic else "",
        onnx_nodes=nodes,
        role=roles.of(match["kind"], nodes),
    )


def _section(line: str, title: str) -> str:
    """The text of ``title: [ ... ]``, up to the next section."""
    start = line.find(f", {title}: [")
    if start < 0:
        return ""
    ends = [
        line.find(stop, start + 2) for stop in (", Constants: [", ", Outputs: [", ", ParameterType: ", ", TacticName: ")
    ]
    return line[start : min((end for end in ends if end > 0), default=len(line))]


def _types(section: str) -> tuple[str, ...]:
    return tuple(type_named(plain or legacy) for plain, legacy in _DATATYPE.findall(section))


def type_named(words: str) -> str:
    """A type as every version writes it, ``"Half"``, ``"Row major linear FP16 format"`` or ``"INT8"``, by numpy's name;
    ``UNTOLD`` where they say that it is not told; words that hold none stay as they are."""
    found = _IN_WORDS.search(words)
    name = (found[1] if found else words).lower()
    return _TYPES.get(name, name)


def onnx_nodes(metadata: str) -> tuple[str, ...]:
    """The node names in a layer's metadata, ``[ONNX Layer: conv1][ONNX Layer: relu1]``, each once.

    A node of a subgraph is followed by its way in, ``inner | sub_graph (then_branch) | outer (If)``, which is cut off.
    """
    start, end = metadata.find("[ONNX Layer: "), metadata.rfind("]")
    if start < 0:
        return ()
    entries = _ONNX_SEPARATOR.split(metadata[start + len("[ONNX Layer: ") : end])
    return tuple(dict.fromkeys(entry.partition(_SUBGRAPH)[0] for entry in entries))


def read_memory(messages: Iterable[str]) -> BuildMemory:
    """Memory figures of a build's messages (the last of each)."""
    text = "\n".join(message for message in messages if "Memory: " in message)
    found = {field: re.findall(rf"{title}: (\d+) bytes", text) for field, title in _MEMORY.items()}
    return BuildMemory(**{field: int(values[-1]) for field, values in found.items() if values})


_ELIGIBLE = re.compile(
    r"\(Sparsity\) (?:Layers eligible for sparse math|Found (\d+) layer\(s\) eligible to use sparse tactics):?(.*)"
)
_CHOSEN = re.compile(
    r"\(Sparsity\) (?:TRT inference plan picked sparse implementation for layers|"
    r"Chose (\d+) layer\(s\) using sparse tactics):?(.*)"
)


def read_sparse_tactics(messages: Iterable[str]) -> SparseTactics | None:
    """Which layers took a sparse tactic, from the words of TensorRT 8 ("Layers eligible for sparse math: …", "TRT
    inference plan picked sparse implementation for layers: …") or 10 ("Found 52 layer(s) eligible to use sparse
    tactics: …", "Chose 3 layer(s) using sparse tactics: …"). A builder says so once for each pass: the last is the
    engine's. None where it says nothing.
    """
    eligible = chosen = None
    for message in messages:
        eligible, chosen = _ELIGIBLE.search(message) or eligible, _CHOSEN.search(message) or chosen
    if eligible is None and chosen is None:
        return None
    (could, _), (took, names) = _counted(eligible), _counted(chosen)
    return SparseTactics(max(could, took), took, names)


def _counted(match: re.Match[str] | None) -> tuple[int, tuple[str, ...]]:
    """How many layers, and their names where they are listed."""
    if match is None:
        return 0, ()
    names = tuple(name for part in match[2].split(",") if (name := part.strip()))
    return int(match[1]) if match[1] else len(names), names


def read_sparsity(messages: Iterable[str]) -> tuple[str, ...]:
    """What the builder says about 2:4 weights, in its own words; TensorRT-RTX says nothing because it uses none."""
    return tuple(dict.fromkeys(message.strip() for message in messages if message.startswith("(Sparsity)")))
