"""An explanation on a terminal: a table of all nodes, or everything that is known of one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TypeAlias

from benchmarks.accuracy.compare import SQNR_CAP_DB
from benchmarks.report import formats
from optimizer.precision import NodePrecision
from optimizer.verbs.engine_tables import render_layers
from optimizer.verbs.explain.bundle import Explanation

if TYPE_CHECKING:
    from rich.console import Console

ROWS = 40
"""Rows that are printed of a larger graph. Chosen."""
_RULE = re.compile(r"(?P<rule>rule \d+) \((?P<title>.*?)\)(?:: (?P<detail>.*))?$")
Key: TypeAlias = "Callable[[str], tuple[float, ...]]"


def orders(found: Explanation) -> dict[str, Key]:
    """Ways to sort the table, by name: what matters most first; equal ones stay in graph order."""
    nodes = found.nodes
    return {
        "error": lambda name: (-found.error_shares.get(name, 0.0), -nodes[name].macs),
        "time": lambda name: (-_time(found, name), -nodes[name].macs),
        "macs": lambda name: (-nodes[name].macs,),
        "drift": lambda name: (_or_most(nodes[name].drift_db),),
        "graph": lambda name: (),
    }


def _time(found: Explanation, name: str) -> float:
    return found.nodes[name].milliseconds or found.predicted_ms.get(name, 0.0)


def _or_most(value: float | None) -> float:
    return float("inf") if value is None else value


def render(found: Explanation, console: Console, sort: str = "error", top: int = ROWS) -> None:
    """Print the rows, ``top`` of them (0: all); figures nobody has are left out, column and all."""
    from rich.table import Table

    names = sorted(found.nodes, key=orders(found)[sort])
    shown = names[:top] if top else names
    columns = [column for column in _columns(found) if any(column[1](name) for name in found.nodes)]
    table = Table("node", "op", "dtype", box=None, pad_edge=False)
    for title, _ in columns:
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("why")
    for name in shown:
        node = found.nodes[name]
        cells = [text(name) for _, text in columns]
        table.add_row(name, node.op_type, node.dtype.value, *cells, short(node.reason))
    console.print(table, markup=False)
    if len(shown) < len(names):
        console.print(f"and {len(names) - len(shown)} nodes more: --top 0 prints all, --json has all", highlight=False)
    told = list(_told(found))
    for line in [told[0], *rules([found.nodes[name].reason for name in shown]), *told[1:]]:
        console.print(line, markup=False, highlight=False)
    _warn(found, console)


def rules(reasons: Iterable[str]) -> list[str]:
    """What the rules say that ``short`` names in ``reasons`` by number alone."""
    found = [match for reason in reasons if (match := _RULE.match(reason))]
    titles = {int(match["rule"].split()[1]): match["title"] for match in found}
    return [f"rule {number}: {title}" for number, title in sorted(titles.items())]


def short(reason: str) -> str:
    """A rule's number, with what it says of this node: ``"rule 11: N is 1"``."""
    found = _RULE.match(reason)
    return ": ".join(filter(None, [found["rule"], found["detail"]])) if found else reason


def _columns(found: Explanation) -> list[tuple[str, Callable[[str], str]]]:
    """Title and text of each figure; empty where it is not known."""
    nodes, total = found.nodes, found.macs or 1

    def share(name: str) -> str:
        return formats.percent(found.error_shares[name]) if name in found.error_shares else ""

    def drift(name: str) -> str:
        return _db(nodes[name].drift_db)

    def macs(name: str) -> str:
        return f"{100 * nodes[name].macs / total:.1f} %" if nodes[name].macs else ""

    def measured(name: str) -> str:
        return formats.milliseconds(nodes[name].milliseconds) if nodes[name].milliseconds else ""

    def predicted(name: str) -> str:
        return formats.milliseconds(found.predicted_ms[name]) if name in found.predicted_ms else ""

    def sparsity(name: str) -> str:
        return nodes[name].sparsity or ("dense" if nodes[name].sparsity_reason else "")

    time = ("time", measured) if any(measured(name) for name in nodes) else ("predicted", predicted)
    return [("error", share), ("drift", drift), ("MACs", macs), time, ("sparsity", sparsity)]


def _db(value: float | None) -> str:
    if value is None:
        return ""
    return "exact" if value >= SQNR_CAP_DB else f"{value:.1f} dB"


def _told(found: Explanation) -> Iterator[str]:
    """What the columns are, where the error begins, notes, and the engines."""
    yield ""
    if found.error_shares:
        yield (
            "error: the node's share of the noise at the outputs, where each node alone is quantized; of a float node, "
            "what quantizing it would cause"
        )
    if any(node.drift_db is not None for node in found.nodes.values()):
        yield "drift: how near the node's result is to FP32 when the whole graph computes as planned"
    if found.predicted_ms and not any(node.milliseconds for node in found.nodes.values()):
        yield f"predicted: for {found.predicted_for} at batch 1, by a roofline model; fused nodes count at one of them"
    if found.origin is not None:
        yield found.origin.sentence
    if found.notes:
        yield "what was done to the graph, in order:"
    for note in found.notes:
        yield f"- {note}"
    for target in found.apart:
        yield f"engine {target}: runs a graph of its own; `optimize explain BUNDLE --target {target}` explains it"
    for target, line in found.engines.items():
        yield f"engine {target}: {line}"
    for target, line in found.slow.items():
        yield f"engine {target}: {line}"


def render_node(found: Explanation, console: Console) -> None:
    """Print everything that is known of the one node."""
    (name, node), total = next(iter(found.nodes.items())), found.macs or 1
    lines = [
        f"{name}: {node.op_type}",
        f"  computes in {node.dtype.value}: {node.reason}",
        *(f"  {line}" for line in _figures(found, name, node, total)),
        *(f"  reads {_neighbour(other, of)}" for other, of in found.reads.items()),
        *(f"  read by {_neighbour(other, of)}" for other, of in found.read_by.items()),
        *(f"  - {note}" for note in found.notes if note != f"{name}: {node.reason}"),
    ]
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    _warn(found, console)
    for target, layers in found.layers.items():
        console.print(
            f"engine {target}: kernels that run it: {len(layers)}" if layers else f"engine {target}: folded away"
        )
        render_layers(tuple(layers), console)


def _warn(found: Explanation, console: Console) -> None:
    """Say of which engines the arithmetic was seen to be another."""
    for target, line in found.differs.items():
        console.print(f"engine {target}: {line}", style="yellow", markup=False, highlight=False)


def _figures(found: Explanation, name: str, node: NodePrecision, total: int) -> Iterator[str]:
    if node.cost_db is not None:
        share = formats.percent(found.error_shares.get(name))
        alone = f"alone quantized, it leaves the outputs {_db(node.cost_db)}"
        yield f"error: {alone}" + (f", {share} of what all measured nodes cause" if name in found.error_shares else "")
    else:
        yield "error: not measured for this node by itself"
    if node.drift_db is not None:
        yield f"drift: its result has {_db(node.drift_db)} against FP32, all of the graph as planned"
    if node.macs:
        part = formats.percent(node.macs / total)
        yield f"work: {formats.count(node.macs)} multiply-accumulates per sample, {part} of all"
    if node.milliseconds is not None:
        yield f"time: {formats.milliseconds(node.milliseconds)} of an inference, measured on the CPU's engine"
    if name in found.predicted_ms:
        predicted = formats.milliseconds(found.predicted_ms[name])
        yield f"time: {predicted} predicted for {found.predicted_for} at batch 1, not measured"
    if node.sparsity_reason:
        yield f"sparsity: {node.sparsity or 'dense'}: {node.sparsity_reason}"
    if found.origin is not None and found.origin.node == name:
        yield found.origin.sentence


def _neighbour(name: str, node: NodePrecision) -> str:
    drift = f", {_db(node.drift_db)}" if node.drift_db is not None else ""
    return f"{name} ({node.op_type}, {node.dtype.value}{drift})"
