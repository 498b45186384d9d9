"""``optimize explain``: the precision plan as rows a person reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.report.model import read_report
from engines.layers import LayerInfo, count_layers, layers_of_nodes
from graphs.errors import BadInput
from optimizer.bundle import REPORT, Bundle
from optimizer.precision import NodePrecision, PrecisionPlan
from optimizer.verbs.engine_tables import counts_line, manifests, render_layers

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True)
class Explanation:
    """The plan of a bundle's ``model.onnx`` or of the graph one engine runs, or of one node; ``notes`` tell what the
    passes did. ``apart`` names the engines that run another graph: their plans are their own.

    ``macs`` are all of the graph's, whatever ``nodes`` are shown. ``engines`` says in a line per target what became of
    the plan, ``layers`` which kernels of each run the one node. ``differs`` says of targets whose engines were seen to
    compute something else than their graphs which node is the first that does.
    """

    nodes: dict[str, NodePrecision]
    notes: list[str]
    engines: dict[str, str] = field(default_factory=dict)
    layers: dict[str, list[LayerInfo]] = field(default_factory=dict)
    apart: list[str] = field(default_factory=list)
    macs: int = 0
    differs: dict[str, str] = field(default_factory=dict)


def explain_bundle(path: Path, node: str | None, target: str | None = None) -> Explanation:
    """The plan of ``model.onnx``, or of the graph that the engine of ``target`` runs. Raises ``BadInput`` for a target
    that is not there, and for such a node, naming close ones.
    """
    bundle = Bundle(path)
    plan = bundle.plan(target)
    engines = manifests(bundle).items()
    tables = {name: found.layers for name, found in engines if found.layers and target in (None, name)}
    macs = sum(found.macs for found in plan.nodes.values())
    differs = _differs(bundle, target, node)
    if node is None:
        counts = {name: counts_line(count_layers(rows)) for name, rows in tables.items()}
        apart = [name for name in bundle.targets() if target is None and bundle.plan(name) != plan]
        return Explanation(plan.nodes, plan.notes, counts, apart=apart, macs=macs, differs=differs)
    if node not in plan.nodes:
        raise BadInput(f"no node {node!r}", where=str(path), expected=_close(node, plan))
    layers = {target: layers_of_nodes(rows).get(node, []) for target, rows in tables.items()}
    return Explanation({node: plan.nodes[node]}, [], layers=layers, macs=macs, differs=differs)


def _differs(bundle: Bundle, target: str | None, node: str | None) -> dict[str, str]:
    """By target, where the engine that ships begins to differ from its simulation; for a ``node``, where it is that."""
    path, found = bundle.path / REPORT, dict[str, str]()
    for name, row in read_report(path).targets.items() if path.is_file() else ():
        form = row.forms.get(row.kept_precision or "")
        first = form.first_difference if form is not None else None
        if first is not None and target in (None, name) and node in (None, first.node, *first.among):
            found[name] = first.sentence
    return found


def _close(node: str, plan: PrecisionPlan) -> str:
    from difflib import get_close_matches

    close = get_close_matches(node, plan.nodes, n=3, cutoff=0.3) or list(plan.nodes)[:3]
    return f"a node such as {', '.join(close)}"


def render(found: Explanation, console: Console) -> None:
    """Print the rows: node, op, dtype, share of MACs, reason."""
    from rich.table import Table

    total = found.macs or 1
    table = Table("node", "op", "dtype", "MACs", "why", box=None, pad_edge=False)
    for name, node in found.nodes.items():
        share = f"{100 * node.macs / total:.1f} %" if node.macs else ""
        table.add_row(name, node.op_type, node.dtype.value, share, node.reason)
    console.print(table)
    for note in found.notes:
        console.print(f"- {note}", markup=False)
    for target in found.apart:
        line = f"engine {target}: runs another graph, `optimize explain BUNDLE --target {target}` explains that"
        console.print(line, markup=False, highlight=False)
    for target, line in found.engines.items():
        console.print(f"engine {target}: {line}", markup=False, highlight=False)
    for target, line in found.differs.items():
        console.print(f"engine {target}: {line}", style="yellow", markup=False, highlight=False)
    for target, layers in found.layers.items():
        console.print(f"engine {target}: {len(layers)} kernels run it" if layers else f"engine {target}: folded away")
        render_layers(tuple(layers), console)
