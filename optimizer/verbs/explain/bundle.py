"""What a bundle knows of its nodes: precision, reason, error, cost, and the kernels that run them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import onnx_ir as ir

from benchmarks.report.error_shares import noise_shares
from benchmarks.report.model import TargetSummary, read_report
from benchmarks.roofline.nodes import predicted_times
from engines.engine import TensorSpec
from engines.layers import LayerInfo, count_layers, layers_of_nodes
from engines.manifest import EngineManifest
from engines.profile import Shape
from engines.targets.boards import GpuRates
from engines.targets.target import TARGETS, Backend
from graphs.errors import BadInput
from graphs.storage.mapped_weights import read_graph
from optimizer.attempt import attempt
from optimizer.bundle import MODEL, REPORT, Bundle
from optimizer.precision import ErrorOrigin, NodePrecision, PrecisionPlan
from optimizer.verbs.engine_tables import counts_line, manifests


@dataclass(frozen=True)
class Explanation:
    """The plan of a bundle's ``model.onnx`` or of the graph one engine runs, or of one node; ``notes`` tell what the
    passes did, and what could not be told. ``apart`` names the engines that run another graph: their plans are their
    own.

    ``macs`` are all of the graph's, whatever ``nodes`` are shown. ``engines`` says in a line per target what became of
    the plan, ``layers`` which kernels of each run the one node. ``differs`` says of targets whose engines were seen to
    compute something else than their graphs which node is the first that does, ``slow`` of engines that were no faster
    quantized than in FP32 what of it took the time.

    ``error_shares`` (0 to 1) are parts of the error that all measured nodes would cause quantized, each alone;
    ``predicted_ms`` what a kernel should take on the GPU ``predicted_for`` at batch 1, by the node it is called after:
    a prediction, not a measurement. ``origin`` says where the error of the outputs begins. ``reads`` and ``read_by``
    are the one node's neighbours in the plan.
    """

    nodes: dict[str, NodePrecision]
    notes: list[str]
    engines: dict[str, str] = field(default_factory=dict)
    layers: dict[str, list[LayerInfo]] = field(default_factory=dict)
    apart: list[str] = field(default_factory=list)
    macs: int = 0
    differs: dict[str, str] = field(default_factory=dict)
    slow: dict[str, str] = field(default_factory=dict)
    error_shares: dict[str, float] = field(default_factory=dict)
    predicted_ms: dict[str, float] = field(default_factory=dict)
    predicted_for: str = ""
    origin: ErrorOrigin | None = None
    reads: dict[str, NodePrecision] = field(default_factory=dict)
    read_by: dict[str, NodePrecision] = field(default_factory=dict)


def explain_bundle(path: Path, node: str | None, target: str | None = None) -> Explanation:
    """The plan of ``model.onnx``, or of the graph that the engine of ``target`` runs. Raises ``BadInput`` for a target
    that is not there, and for such a node, naming close ones.
    """
    bundle = Bundle(path)
    plan = bundle.plan(target)
    if node is not None and node not in plan.nodes:
        raise BadInput(f"no node {node!r}", where=str(path), expected=_close(node, plan))
    tables = {name: found.layers for name, found in manifests(bundle).items() if target in (None, name)}
    tables = {name: layers for name, layers in tables.items() if layers}
    predicted_for, predicted, failed = _predicted(bundle, target)
    reported = _reported(bundle, target)
    shared = Explanation(
        nodes=plan.nodes,
        notes=[*(note for note in plan.notes if node is None or node in note), *failed],
        engines={name: counts_line(count_layers(rows)) for name, rows in tables.items()},
        apart=[name for name in bundle.targets() if target is None and bundle.plan(name) != plan],
        macs=sum(found.macs for found in plan.nodes.values()),
        differs=_differs(reported, node),
        slow=_slow(reported),
        error_shares=noise_shares({name: found.cost_db for name, found in plan.nodes.items()}),
        predicted_ms=predicted,
        predicted_for=predicted_for,
        origin=plan.origin,
    )
    return shared if node is None else _of_one(shared, node, tables, _graph(bundle, target))


def _of_one(found: Explanation, node: str, tables: Mapping[str, tuple[LayerInfo, ...]], graph: ir.Model) -> Explanation:
    reads, read_by = _neighbours(graph, node, found.nodes)
    return Explanation(
        nodes={node: found.nodes[node]},
        notes=found.notes,
        layers={target: layers_of_nodes(rows).get(node, []) for target, rows in tables.items()},
        macs=found.macs,
        differs=found.differs,
        error_shares={name: share for name, share in found.error_shares.items() if name == node},
        predicted_ms={name: time for name, time in found.predicted_ms.items() if name == node},
        predicted_for=found.predicted_for,
        origin=found.origin,
        reads={name: found.nodes[name] for name in reads},
        read_by={name: found.nodes[name] for name in read_by},
    )


def _differs(rows: Mapping[str, TargetSummary], node: str | None) -> dict[str, str]:
    """By target, where the engine that ships begins to differ from its simulation; for a ``node``, where it is that."""
    found: dict[str, str] = {}
    for name, row in rows.items():
        form = row.forms.get(row.kept_precision or "")
        first = form.first_difference if form is not None else None
        if first is not None and node in (None, first.node, *first.among):
            found[name] = first.sentence
    return found


def _slow(rows: Mapping[str, TargetSummary]) -> dict[str, str]:
    """By target, why an engine ships in another precision than asked, or is slow in it; where that was measured."""
    return {name: row.why for name, row in rows.items() if row.quantized_costs is not None}


def _reported(bundle: Bundle, target: str | None) -> dict[str, TargetSummary]:
    """What the bundle's report says of its targets, or of the one; nothing where there is no report."""
    path = bundle.path / REPORT
    rows = read_report(path).targets if path.is_file() else {}
    return {name: row for name, row in rows.items() if target in (None, name)}


def _graph(bundle: Bundle, target: str | None) -> ir.Model:
    """The graph that the plan is about."""
    if target is not None:
        folder = bundle.engine_directory(target)
        manifest = EngineManifest.load(folder)
        if manifest.backend == Backend.ONNXRUNTIME.value:
            return read_graph(folder / manifest.file)
    return read_graph(bundle.path / MODEL)


def _neighbours(graph: ir.Model, node: str, plan: Mapping[str, NodePrecision]) -> tuple[list[str], list[str]]:
    """Nodes of the plan that make what ``node`` reads, and those that read its results, through Q, DQ and Cast."""
    at = next((found for found in graph.graph.all_nodes() if found.name == node), None)
    if at is None:
        return [], []
    return _nearest(at, _makers, plan), _nearest(at, _readers, plan)


def _nearest(at: ir.Node, beside: Callable[[ir.Node], list[ir.Node]], plan: Collection[str]) -> list[str]:
    """The first nodes of the plan on every way from ``at``; each node on the ways is passed once."""
    found, seen, todo = list[str](), {at}, beside(at)
    while todo:
        node = todo.pop(0)
        if node in seen:
            continue
        seen.add(node)
        if node.name in plan:
            found.append(str(node.name))
        else:
            todo += beside(node)
    return found


def _makers(node: ir.Node) -> list[ir.Node]:
    return [made for value in node.inputs if value is not None and (made := value.producer()) is not None]


def _readers(node: ir.Node) -> list[ir.Node]:
    return [use.node for value in node.outputs for use in value.uses()]


def _predicted(bundle: Bundle, target: str | None) -> tuple[str, dict[str, float], list[str]]:
    """What kernels of ``model.onnx`` should take on the GPU ``target``, by default the first the bundle has a plan for;
    nothing where there is none, and a note where the roofline cannot read the graph.
    """
    for name in bundle.targets() if target is None else [target]:
        folder = bundle.engine_directory(name)
        manifest = EngineManifest.load(folder)
        known = TARGETS.get(manifest.target)  # None: a GPU of no listed kind, whose rates nobody knows
        rates = known.rates if known is not None and manifest.backend != Backend.ONNXRUNTIME.value else None
        if rates is not None:
            none: dict[str, float] = {}
            look = partial(_times, bundle, manifest, rates)
            times, notes = attempt("prediction by the roofline model", look, none)
            return name, times, notes
    return "", {}, []


def _times(bundle: Bundle, manifest: EngineManifest, rates: GpuRates) -> dict[str, float]:
    usual = manifest.profile.opt_shapes()
    shapes = {spec.name: usual.get(spec.name, _fixed(spec)) for spec in manifest.inputs}
    one = {spec.name: (1, *shapes[spec.name][1:]) if spec.batched else shapes[spec.name] for spec in manifest.inputs}
    return predicted_times(read_graph(bundle.path / MODEL), one, rates)


def _fixed(spec: TensorSpec) -> Shape:
    return tuple(d if isinstance(d, int) else 1 for d in spec.shape)


def _close(node: str, plan: PrecisionPlan) -> str:
    from difflib import get_close_matches

    close = get_close_matches(node, plan.nodes, n=3, cutoff=0.3) or list(plan.nodes)[:3]
    return f"a node such as {', '.join(close)}"
