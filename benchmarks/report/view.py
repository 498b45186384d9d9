"""What the page shows that no field holds: key figures, map cells, joined engine layers, the worst nodes."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from benchmarks.accuracy.compare import SQNR_CAP_DB
from benchmarks.accuracy.task_metric import TaskAccuracy
from benchmarks.report import formats
from benchmarks.report.budget import BudgetSummary, PrecisionSearch
from benchmarks.report.error_shares import noise_shares
from benchmarks.report.extras import DriftRow, NodeRow
from benchmarks.report.model import OutputFidelity, Report, TargetSummary
from benchmarks.report.updated import UpdateSummary
from engines.layers import LayerCounts, LayerInfo, count_layers, flag

CALIBRATED_PRECISIONS = ("int8", "fp8", "int8wo", "int4", "nvfp4", "mxfp8", "auto")
"""Requests that need ranges from data; for the others ``calibrated`` says nothing."""
FROM_SOURCE = "source"
"""The calibration method of ranges that a model came with."""
DTYPES = ("int8", "fp8", "int8wo", "int4", "nvfp4", "mxfp8", "fp16", "bf16", "fp32")


MAP_NODES = 400
"""Nodes that are drawn one by one; chosen: ten rows on a wide page."""


def uncalibrated(report: Report) -> bool:
    """Whether ranges were needed and come from no data, nor from the model itself."""
    from_source = report.calibration.get("method") == FROM_SOURCE
    return not report.calibrated and not from_source and report.precision.requested in CALIBRATED_PRECISIONS


def timed_earlier(target: TargetSummary) -> str:
    """Where the times of an engine are an earlier run's; empty where this run took them."""
    if not target.timed_earlier:
        return ""
    when = datetime.fromisoformat(target.timed_earlier).strftime("%Y-%m-%d %H:%M")
    return f"timed at {when} UTC by an earlier run on this machine; --force times it again"


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


def worst_output(outputs: Mapping[str, OutputFidelity] | None) -> OutputFidelity | None:
    """The output with the lowest SQNR; an exact one counts as infinite."""
    if not outputs:
        return None
    return min(outputs.values(), key=lambda o: math.inf if o.sqnr_db is None else o.sqnr_db)


def simulated(target: TargetSummary) -> bool:
    """Whether the target's accuracy was computed by a stand-in and not by the engine itself."""
    return target.accuracy is not None and target.accuracy_simulated


def noise(target: TargetSummary) -> str:
    """What a reader must know of timings that did not pass the gate; empty where they did."""
    if target.steadiness is None or target.steadiness.trusted:
        return ""
    found = target.steadiness.speedup.get(target.kept_precision or "")
    between = f"{formats.ratio(found.low)} to {formats.ratio(found.high)}" if found else ""
    beside = f"; beside {target.steadiness.baseline} {between}, 95 % interval" if between else ""
    return f"noisy timings, not to be trusted alone{beside}"


def tiles(report: Report) -> list[Tile]:
    """The figures a reader looks for first; only those that were measured."""
    return [tile for tile in (_speed(report), _accuracy(report), _share(report), _smallest(report)) if tile]


def _speed(report: Report) -> Tile | None:
    best = fastest(report)
    if best is None:
        return None
    name, target = best
    said = "; ".join(filter(None, [f"measured on {target.title or name}", noise(target)]))
    return Tile(formats.ratio(target.speedup_vs_fp32), "throughput against FP32", said)


def _accuracy(report: Report) -> Tile | None:
    if report.accuracy is None:
        return None
    task = report.accuracy.task
    if task is not None:
        sides = f"{task.metric}: {formats.significant(task.fp32, 4)} → {formats.significant(task.optimized, 4)}"
        said = "; ".join(filter(None, [sides, sampled(task)]))
        return Tile(percentage(task.drop / abs(task.fp32)) if task.fp32 else f"{task.drop:.3g}", "accuracy drop", said)
    worst = worst_output(report.accuracy.outputs)
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


def percentage(share: float) -> str:
    """``0.01`` -> ``1 %``."""
    return f"{share * 100:.3g} %"


def drop(task: TaskAccuracy) -> str:
    """A drop in the metric's own unit and against FP32: ``0.0022 (0.306 % of FP32)``; a gain reads ``-0.0010``."""
    relative = f" ({percentage(task.drop / abs(task.fp32))} of FP32)" if task.fp32 else ""
    return f"{task.drop:.3g}{relative}"


def sampled(task: TaskAccuracy) -> str:
    """Of a candidate that ran on part of the samples: ``at most 0.41 % with 95 % confidence, by 3,300 of 10,000
    samples``; empty where it ran on all.
    """
    if (bound := task.sampled) is None:
        return ""
    sure = f"at most {percentage(bound.upper)} with {100 * bound.level:.0f} % confidence"
    return f"{sure}, by {bound.samples:,} of {task.samples:,} samples"


def budget(found: BudgetSummary, max_drop: float) -> str:
    """``within 0.5 %, surely: a drop of 0.03 %, at most 0.19 % with 95 % confidence (…)``."""
    words = {
        "surely": f"within {percentage(max_drop)}, surely",
        "on_samples": f"within {percentage(max_drop)} on these samples, not surely on others",
        "missed": f"{percentage(max_drop)} missed",
    }
    text = f"{words[found.verdict]}: a drop of {percentage(found.drop)}"
    if found.upper is not None:
        text += f", at most {percentage(found.upper)} with {100 * found.level:.0f} % confidence, one-sided"
    return f"{text} ({found.how})" if found.how else text


def search(found: PrecisionSearch) -> str:
    """``4 forms measured for latency in 25 s (a search may take 59 s); …``."""
    chosen = found.chosen
    share = f"; {formats.percent(chosen.int8_mac_share)} of MACs quantized" if chosen is not None else ""
    took = f"{formats.seconds(found.seconds)} beside the first (of {formats.seconds(found.bound_s)})"
    forms = "1 form" if len(found.points) == 1 else f"{len(found.points)} forms"
    return f"{forms} measured for {found.optimize_for}, {took}{share}"


def update_lines(found: UpdateSummary, seconds: float) -> list[str]:
    """What became of the calibration of each form, and the time beside that of the bundle before."""
    lines = [f"calibration of {form} {check.sentence}" for form, check in found.calibration.items()]
    took, before = formats.seconds(seconds), formats.seconds(found.seconds)
    if not found.same_machine:
        return [*lines, f"took {took}; {found.bundle} took {before} on another processor"]
    share = f"{formats.percent(seconds / found.seconds)} of " if found.seconds else "beside "
    return [*lines, f"took {took}, {share}the {before} that {found.bundle} took"]


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
