"""What the page shows that no field holds: key figures, map cells, joined engine layers, the worst nodes."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from benchmarks.accuracy.compare import SQNR_CAP_DB
from benchmarks.report import formats, sentences
from benchmarks.report.error_shares import noise_shares
from benchmarks.report.extras import DriftRow, NodeRow
from benchmarks.report.model import Report, TargetSummary
from engines.layers import LayerCounts, LayerInfo, count_layers, flag

DTYPES = ("int8", "fp8", "int8wo", "int4", "nvfp4", "mxfp8", "fp16", "bf16", "fp32")


MAP_NODES = 400
"""Nodes that are drawn one by one; chosen: ten rows on a wide page."""


@dataclass(frozen=True)
class Tile:
    """A key figure: the number, what it is, and what it stands on."""

    value: str
    title: str
    detail: str


@dataclass(frozen=True)
class Cell:
    """One node on the precision map; ``width`` in pixels grows with the square root of its MACs."""

    dtype: str
    width: int
    title: str


@dataclass(frozen=True)
class Share:
    """A dtype's share (0 to 1) of nodes and of multiply-accumulates."""

    dtype: str
    nodes: int
    macs: float


@dataclass(frozen=True)
class LayerView:
    """An engine layer joined to the plan.

    ``verdict``: "int8" (planned, and the layer reads int8), "fell back" (planned, and it does not), or "" where INT8
    was not planned for any of its nodes. ``types`` reads "int8 → float16"; ``flag`` marks reformats and unfused Q/DQ.
    """

    layer: LayerInfo
    types: str
    verdict: str
    flag: str = ""

    @property
    def fell_back(self) -> bool:
        return self.verdict == "fell back"


def fastest(report: Report) -> tuple[str, TargetSummary] | None:
    """The measured target with the largest speed-up over FP32."""
    rated = [(name, t) for name, t in report.targets.items() if t.speedup_vs_fp32 is not None]
    return max(rated, key=lambda item: item[1].speedup_vs_fp32 or 0.0, default=None)


def tiles(report: Report) -> list[Tile]:
    """The figures a reader looks for first; only those that were measured."""
    return [tile for tile in (_speed(report), _accuracy(report), _share(report), _smallest(report)) if tile]


def _speed(report: Report) -> Tile | None:
    best = fastest(report)
    if best is None:
        return None
    name, target = best
    said = "; ".join(filter(None, [f"measured on {target.title or name}", sentences.noise(target)]))
    return Tile(formats.ratio(target.speedup_vs_fp32), "throughput against FP32", said)


def _accuracy(report: Report) -> Tile | None:
    if report.accuracy is None:
        return None
    task = report.accuracy.task
    if task is not None:
        sides = f"{task.metric}: {formats.significant(task.fp32, 4)} → {formats.significant(task.optimized, 4)}"
        said = "; ".join(filter(None, [sides, sentences.sampled(task)]))
        return Tile(
            sentences.percentage(task.drop / abs(task.fp32)) if task.fp32 else f"{task.drop:.3g}", "accuracy drop", said
        )
    worst = sentences.worst_output(report.accuracy.outputs)
    return Tile(formats.decibels(worst), "SQNR of the worst output", f"{report.accuracy.samples:,} held-back samples")


def _share(report: Report) -> Tile | None:
    main = report.precision.main_share
    if main is None:
        return None
    (dtype, share), nodes = main, report.precision.nodes
    sparse = f", {report.precision.sparse_nodes} with 2:4 weights" if report.precision.sparse_nodes else ""
    counted = f"{nodes.get(dtype, 0)} of {sum(nodes.values())} nodes{sparse}"
    return Tile(formats.percent(share), f"of MACs in {dtype.upper()}", counted)


def _smallest(report: Report) -> Tile | None:
    sized = [(t.engine_bytes, t.title or name) for name, t in report.targets.items() if t.engine_bytes]
    if not sized or not report.model.bytes:
        return None
    smallest, name = min(sized)
    return Tile(
        formats.size(smallest), "smallest engine", f"{name}; the model as given is {formats.size(report.model.bytes)}"
    )


def cells(nodes: Sequence[NodeRow]) -> list[Cell]:
    """The precision map, in graph order; none of a graph of more than ``MAP_NODES``, whose picture is the chart."""
    if len(nodes) > MAP_NODES:
        return []
    largest = max((node.macs for node in nodes), default=0)
    return [_cell(node, largest) for node in nodes]


def _cell(node: NodeRow, largest: int) -> Cell:
    width = 7 + round(65 * math.sqrt(node.macs / largest)) if largest else 12
    work = f" · {formats.count(node.macs)} MACs" if node.macs else ""
    return Cell(node.dtype, width, f"{node.name} ({node.op_type}) · {node.dtype}{work}\n{node.reason}".strip())


def shares(nodes: Sequence[NodeRow]) -> list[Share]:
    """Per dtype in use: node count and share of all MACs, best-known dtypes first."""
    total = sum(node.macs for node in nodes) or 1
    used = {node.dtype for node in nodes}
    ordered = [*(d for d in DTYPES if d in used), *sorted(used - set(DTYPES))]
    return [
        Share(
            dtype,
            sum(node.dtype == dtype for node in nodes),
            sum(node.macs for node in nodes if node.dtype == dtype) / total,
        )
        for dtype in ordered
    ]


def fidelity_levels(rows: Sequence[DriftRow]) -> list[float | None]:
    """SQNR per row for drawing: None where exact; a value that is not even finite (-200 dB) is drawn at -20."""
    return [None if _exact(row) else max(row.sqnr_db or 0.0, -20.0) for row in rows]


def _exact(row: DriftRow) -> bool:
    return row.sqnr_db is None or row.sqnr_db >= SQNR_CAP_DB


@dataclass(frozen=True)
class Fall:
    """A node at which fidelity falls by ``decibels`` against the node before; ``index`` is its place in the graph."""

    index: int
    decibels: float
    row: DriftRow


def worst_falls(rows: Sequence[DriftRow], top: int = 10) -> list[Fall]:
    """The nodes at which fidelity falls most, largest fall first.

    The fall, not the level, names the node to look at: all nodes after a bad one are low too.
    """
    falls: list[Fall] = []
    before: float | None = None
    for index, row in enumerate(rows):
        if row.sqnr_db is None or _exact(row):
            continue
        if before is not None and row.sqnr_db < before:
            falls.append(Fall(index, before - row.sqnr_db, row))
        before = row.sqnr_db
    return sorted(falls, key=lambda fall: -fall.decibels)[:top]


@dataclass(frozen=True)
class ErrorShare:
    """A node's ``share`` (0 to 1) of the noise that all measured nodes cause at the outputs, each alone in INT8."""

    row: NodeRow
    share: float


def error_shares(nodes: Sequence[NodeRow], top: int = 10) -> list[ErrorShare]:
    """The nodes that cause most of the error in INT8, where that was measured; noise powers add up."""
    found = noise_shares({row.name: row.cost_db for row in nodes})
    shares = [ErrorShare(row, found[row.name]) for row in nodes if row.name in found]
    return sorted(shares, key=lambda found: -found.share)[:top]


def join_layers(layers: Sequence[LayerInfo], nodes: Sequence[NodeRow]) -> list[LayerView]:
    """Each engine layer with what the plan asked of its ONNX nodes, and whether the engine really does it.

    One node may be spread over several layers (the product in int8, its epilogue in a float kernel): it runs in int8
    when any of them reads int8.
    """
    planned = {node.name for node in nodes if node.dtype == "int8"}
    done = {name for layer in layers if "int8" in layer.inputs for name in layer.onnx_nodes}
    return [_join(layer, planned, done) for layer in layers]


def layer_counts(views: Sequence[LayerView]) -> LayerCounts:
    """Counts over the layers of one engine."""
    return count_layers(view.layer for view in views)


def _join(layer: LayerInfo, planned: Collection[str], done: Collection[str]) -> LayerView:
    types, flagged = layer.types, flag(layer)
    asked = [name for name in layer.onnx_nodes if name in planned]
    if not asked:
        return LayerView(layer, types, "", flagged)
    if "int8" in layer.inputs:
        return LayerView(layer, types, "int8")
    return LayerView(layer, types, "" if all(name in done for name in asked) else "fell back", flagged)
