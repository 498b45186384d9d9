"""``optimize explain``: the precision plan as rows a person reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from engines.layers import count_layers
from engines.tensorrt.builder.build_log import LayerInfo, layers_of_nodes
from graphs.errors import BadInput
from graphs.files import read_json
from optimizer.bundle import Bundle
from optimizer.precision import NodePrecision, PrecisionPlan
from optimizer.verbs.engine_tables import counts_line, manifests, render_layers

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True)
class Explanation:
    """The plan of a bundle, or of one of its nodes; ``notes`` tell what the passes did.

    ``engines`` says in a line per target what became of the plan, ``layers`` which kernels of each run the one node.
    """

    nodes: dict[str, NodePrecision]
    notes: list[str]
    engines: dict[str, str] = field(default_factory=dict)
    layers: dict[str, list[LayerInfo]] = field(default_factory=dict)


def explain_bundle(path: Path, node: str | None) -> Explanation:
    """Read precision.json. Raises ``BadInput`` for an unknown node, naming close ones."""
    bundle = Bundle(path)
    plan = read_json(bundle.path / "precision.json", PrecisionPlan)
    tables = {target: found.layers for target, found in manifests(bundle).items() if found.layers}
    if node is None:
        return Explanation(plan.nodes, plan.notes, {t: counts_line(count_layers(rows)) for t, rows in tables.items()})
    if node not in plan.nodes:
        raise BadInput(f"no node {node!r}", where=str(path), expected=_close(node, plan))
    layers = {target: layers_of_nodes(rows).get(node, []) for target, rows in tables.items()}
    return Explanation({node: plan.nodes[node]}, [], layers=layers)


def _close(node: str, plan: PrecisionPlan) -> str:
    from difflib import get_close_matches

    close = get_close_matches(node, plan.nodes, n=3, cutoff=0.3) or list(plan.nodes)[:3]
    return f"a node such as {', '.join(close)}"


def render(found: Explanation, console: Console) -> None:
    """Print the rows: node, op, dtype, share of MACs, reason."""
    from rich.table import Table

    total = sum(node.macs for node in found.nodes.values()) or 1
    table = Table("node", "op", "dtype", "MACs", "why", box=None, pad_edge=False)
    for name, node in found.nodes.items():
        share = f"{100 * node.macs / total:.1f} %" if node.macs else ""
        table.add_row(name, node.op_type, node.dtype.value, share, node.reason)
    console.print(table)
    for note in found.notes:
        console.print(f"- {note}", markup=False)
    for target, line in found.engines.items():
        console.print(f"engine {target}: {line}", markup=False, highlight=False)
    for target, layers in found.layers.items():
        console.print(f"engine {target}: {len(layers)} kernels run it" if layers else f"engine {target}: folded away")
        render_layers(tuple(layers), console)
