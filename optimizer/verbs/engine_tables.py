"""The GPU engines of a bundle for people: what each is, what its layers run as, and how two of them differ."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.report import formats
from engines.layers import LayerCounts, LayerDifference, LayerInfo, compare_layers, computes_int8, count_layers, flag
from engines.manifest import EngineManifest
from optimizer.bundle import Bundle

if TYPE_CHECKING:
    from rich.console import Console

_CHANGES_SHOWN = 20
"""Nodes that are printed; --json has all. Chosen."""


@dataclass(frozen=True)
class EngineSummary:
    """One engine; ``profiles`` as ``--shape`` takes them, ``layers`` counts of its table (None where there is none)."""

    library: str
    compute_capability: str
    bytes: int
    build_seconds: float
    profiles: list[str]
    options: dict[str, str]
    layers: LayerCounts | None
    ignored: list[str]
    notes: list[str]


@dataclass(frozen=True)
class EngineDifference:
    """Two engines for one target; ``settings`` that differ in words, ``layers`` where both have a table."""

    settings: list[str]
    bytes: tuple[int, int]
    layers: LayerDifference | None


def manifests(bundle: Bundle) -> dict[str, EngineManifest]:
    """Every engine's manifest by target."""
    return {target: EngineManifest.load(bundle.engine_directory(target)) for target in bundle.targets()}


def summarise(manifest: EngineManifest) -> EngineSummary:
    return EngineSummary(
        library=f"{manifest.backend} {manifest.backend_version}",
        compute_capability=manifest.sm,
        bytes=manifest.bytes,
        build_seconds=manifest.build_seconds,
        profiles=[_profile(manifest, index) for index in range(len(manifest.profiles))],
        options=manifest.options,
        layers=count_layers(manifest.layers) if manifest.layers else None,
        ignored=list(manifest.ignored),
        notes=list(manifest.notes),
    )


def _profile(manifest: EngineManifest, index: int) -> str:
    return " ".join(f"{name}={shapes}" for name, shapes in manifest.profiles[index].inputs.items()) or "fixed shapes"


def compare_engines(first: Path, second: Path) -> dict[str, EngineDifference]:
    """What differs between the engines of two bundles, for every target that both have but the CPU."""
    sides = manifests(Bundle(first)), manifests(Bundle(second))
    shared = [target for target, found in sides[0].items() if target in sides[1] and found.backend != "onnxruntime"]
    return {target: _difference(sides[0][target], sides[1][target]) for target in shared}


def _difference(first: EngineManifest, second: EngineManifest) -> EngineDifference:
    both = summarise(first), summarise(second)
    names = ("library", "compute_capability", "profiles", "options")
    pairs = [(name, getattr(both[0], name), getattr(both[1], name)) for name in names]
    pairs.append(("precision", first.precision, second.precision))
    pairs.append(("sparse weights", first.sparse_weights, second.sparse_weights))
    settings = [f"{name}: {a} against {b}" for name, a, b in pairs if a != b]
    layers = compare_layers(first.layers, second.layers) if first.layers and second.layers else None
    return EngineDifference(settings, (first.bytes, second.bytes), layers)


def counts_line(counts: LayerCounts) -> str:
    """``kernels: 39, in int8: 16, reformats: 1, unfused Q/DQ: 12``."""
    return (
        f"kernels: {counts.kernels}, in int8: {counts.int8}, reformats: {counts.reformats}, "
        f"unfused Q/DQ: {counts.unfused}"
    )


def render_summaries(found: dict[str, EngineSummary], console: Console) -> None:
    """One paragraph per engine."""
    for target, engine in found.items():
        size = f"{formats.size(engine.bytes)}, built in {engine.build_seconds:.1f} s"
        console.print(f"engine {target}: {engine.library} {engine.compute_capability}  {size}", highlight=False)
        lines = [*(f"profile {text}" for text in engine.profiles), *engine.ignored, *engine.notes]
        if engine.layers is not None:
            lines.insert(0, counts_line(engine.layers))
            lines.insert(1, ", ".join(f"{count} {kind}" for kind, count in engine.layers.kinds.items()))
        for line in lines:
            console.print(f"  {line}", markup=False, highlight=False)


def render_layers(layers: tuple[LayerInfo, ...], console: Console) -> None:
    """The layer table: kernel kind, types, really INT8 or what to look at, ONNX nodes, tactic."""
    from rich.table import Table

    if not layers:
        console.print("the engine names no kernels: `optimize explain BUNDLE --target TARGET` has what its nodes take")
        return
    table = Table("kind", "types", "int8?", "ONNX nodes", "tactic", box=None, pad_edge=False)
    for layer in layers:
        mark = "yes" if computes_int8(layer) else flag(layer)
        table.add_row(layer.kind, layer.types, mark, ", ".join(layer.onnx_nodes), layer.tactic)
    console.print(table, markup=False)


def render_differences(found: dict[str, EngineDifference], console: Console) -> None:
    """Settings, sizes, kernel counts and the nodes that run differently."""
    for target, engine in found.items():
        first, second = (formats.size(size) for size in engine.bytes)
        console.print(f"engine {target}: {first}, the second's {second}", highlight=False)
        for line in engine.settings:
            console.print(f"  {line}", markup=False, highlight=False)
        if engine.layers is None:
            continue
        for side, counts in (("first", engine.layers.first), ("second", engine.layers.second)):
            console.print(f"  {side:6}  {counts_line(counts)}", highlight=False)
        changes = engine.layers.changes
        console.print(f"  {len(changes)} nodes run differently" if changes else "  every node runs the same way")
        for change in changes[:_CHANGES_SHOWN]:
            console.print(f"  {change.node}", markup=False, highlight=False)
            for side, kernels in (("first", change.first), ("second", change.second)):
                console.print(f"    {side:6}  {kernels or 'folded away'}", markup=False, highlight=False)
        if len(changes) > _CHANGES_SHOWN:
            console.print(f"  and {len(changes) - _CHANGES_SHOWN} more (--json has all)", highlight=False)
