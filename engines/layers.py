"""An engine's layer table, and what it says: kernels by kind and type, what is INT8, and what got in the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from graphs.errors import first_few

Role: TypeAlias = Literal["compute", "reformat", "quantize", "dequantize", "round trip", "sync"]
"""What a layer is there for. ``reformat``: inserted by the builder to change a layout or type, no ONNX node behind it.
``quantize``, ``dequantize`` and ``round trip`` (both): Q/DQ nodes that were fused into no other kernel. ``sync``: no
kernel at all."""
UNFUSED: frozenset[Role] = frozenset({"quantize", "dequantize", "round trip"})

EPILOGUE = "kgen"
"""Kind of the element-wise kernels that TensorRT-RTX generates; they hold no product."""

UNTOLD = "?"
"""In place of a tensor's type that nothing tells."""


@dataclass(frozen=True)
class LayerInfo:
    """One layer of an engine.

    ``inputs``, ``constants`` and ``outputs`` are the types of its tensors in order (``"int8"``, ``"float16"``);
    ``onnx_nodes`` the names of the ONNX nodes it executes, empty for what the builder inserted itself; ``role`` what it
    is there for.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    constants: tuple[str, ...]
    outputs: tuple[str, ...]
    tactic: str
    onnx_nodes: tuple[str, ...]
    role: Role = "compute"

    @property
    def types(self) -> str:
        """``"int8 → float16"``: the types it reads and writes, each once."""
        return " → ".join(", ".join(dict.fromkeys(side)) for side in (self.inputs, self.outputs) if side)


@dataclass(frozen=True)
class SparseTactics:
    """What a builder of full TensorRT says of 2:4 weights: how many layers were eligible for a sparse tactic, how many
    took one, and the names of those, where it tells them.
    """

    eligible: int
    chosen: int
    layers: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """``"3 of 52 eligible layers took a sparse tactic: conv1, conv2 + relu2, conv9"``"""
        names = f": {', '.join(self.layers)}" if self.layers else ""
        return f"{self.chosen} of {self.eligible} eligible layers took a sparse tactic{names}"


@dataclass(frozen=True)
class BuildMemory:
    """Bytes the engine needs, as the builder reports them; None where it did not."""

    weights_bytes: int | None = None
    activation_bytes: int | None = None
    scratch_bytes: int | None = None
    host_persistent_bytes: int | None = None
    device_persistent_bytes: int | None = None


@dataclass(frozen=True)
class LayerCounts:
    """Counts over one table. ``kernels`` launch something; ``kinds`` and ``types`` (``"int8 → float16"``) divide them.

    ``int8``: kernels of the library that read int8 (products, pooling), not generated element-wise ones. ``reformats``
    and ``unfused`` (Q/DQ nodes that are kernels of their own) are what an engine could do without.
    """

    kernels: int
    kinds: dict[str, int]
    types: dict[str, int]
    int8: int
    reformats: int
    unfused: int


def count_layers(layers: Iterable[LayerInfo]) -> LayerCounts:
    kernels = [layer for layer in layers if layer.role != "sync"]
    return LayerCounts(
        kernels=len(kernels),
        kinds=dict(Counter(layer.kind for layer in kernels).most_common()),
        types=dict(Counter(layer.types for layer in kernels).most_common()),
        int8=sum(computes_int8(layer) for layer in kernels),
        reformats=sum(layer.role == "reformat" for layer in kernels),
        unfused=sum(layer.role in UNFUSED for layer in kernels),
    )


def computes_int8(layer: LayerInfo) -> bool:
    """Whether a kernel of the library reads int8 data: a layer that is *really* INT8."""
    return layer.role == "compute" and layer.kind != EPILOGUE and "int8" in layer.inputs


def fallen_back(planned: Iterable[str], layers: Iterable[LayerInfo]) -> tuple[list[str], int]:
    """The nodes of ``planned``, which should run in int8, that appear in layers none of which reads int8; and how many
    of them appear at all. A layer that does not tell what it reads does not count.
    """
    table = layers_of_nodes(layer for layer in layers if "int8" in layer.inputs or UNTOLD not in layer.inputs)
    seen = [name for name in planned if name in table]
    return [name for name in seen if not any("int8" in layer.inputs for layer in table[name])], len(seen)


def flag(layer: LayerInfo) -> str:
    """What a reader should look at in this layer, in words; empty where there is nothing."""
    if layer.role == "reformat":
        return "reformat"
    return f"unfused Q/DQ: {layer.role}" if layer.role in UNFUSED else ""


def layer_notes(layers: Sequence[LayerInfo]) -> tuple[str, ...]:
    """Sentences on reformats and unfused Q/DQ, naming the first nodes; empty where there are none."""
    unfused = [layer for layer in layers if layer.role in UNFUSED]
    reformats = sum(layer.role == "reformat" for layer in layers)
    notes = []
    if unfused:
        names = [name for layer in unfused for name in layer.onnx_nodes]
        notes.append(f"kernels that only quantize or dequantize: {len(unfused)} (nodes {first_few(names, 3)})")
    if reformats:
        notes.append(f"reformats, kernels that only change a layout or type: {reformats}")
    return tuple(notes)


def layers_of_nodes(layers: Iterable[LayerInfo]) -> dict[str, list[LayerInfo]]:
    """ONNX node name -> the layers that execute it. A node folded away at build time has no entry."""
    table: dict[str, list[LayerInfo]] = {}
    for layer in layers:
        for node in layer.onnx_nodes:
            table.setdefault(node, []).append(layer)
    return table


@dataclass(frozen=True)
class NodeChange:
    """One ONNX node that two engines run differently; each side in words, empty where it was folded away."""

    node: str
    first: str
    second: str


@dataclass(frozen=True)
class LayerDifference:
    """Two tables side by side; ``changes`` in the order of the first."""

    first: LayerCounts
    second: LayerCounts
    changes: list[NodeChange]


def compare_layers(first: Sequence[LayerInfo], second: Sequence[LayerInfo]) -> LayerDifference:
    """What differs, node by node: kernel kinds, types and what each node is fused with."""
    tables = layers_of_nodes(first), layers_of_nodes(second)
    names = dict.fromkeys([*tables[0], *tables[1]])
    sides = ((name, _how(tables[0], name), _how(tables[1], name)) for name in names)
    changes = [NodeChange(name, before, after) for name, before, after in sides if before != after]
    return LayerDifference(count_layers(first), count_layers(second), changes)


def _how(table: Mapping[str, list[LayerInfo]], node: str) -> str:
    return "; ".join(_describe(layer, node) for layer in table.get(node, ()))


def _describe(layer: LayerInfo, node: str) -> str:
    others = [name for name in layer.onnx_nodes if name != node]
    fused = f" with {', '.join(sorted(others))}" if others else ""
    return f"{layer.kind} {layer.types}{fused}"
