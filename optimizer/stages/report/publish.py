"""The files of a bundle that people read: report.json, report.html, precision.json."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from benchmarks.report.extras import DriftRow, Extras, NodeRow
from benchmarks.report.model import Report, write_report
from benchmarks.report.page import render_page
from engines.manifest import EngineManifest
from graphs.files import write_atomically
from optimizer.precision import PrecisionPlan
from optimizer.stages.engines.record import EngineRecord
from optimizer.stages.report.node_costs import NodeCosts


def write_pages(
    report: Report, plan: PrecisionPlan, costs: NodeCosts, records: Mapping[str, EngineRecord], bundle: Path
) -> None:
    """Write ``report.json`` and ``report.html`` into the bundle."""
    write_report(bundle / "report.json", report)
    page = render_page(report, _extras(plan, costs, records, bundle))
    write_atomically(bundle / "report.html", page.encode())


def _extras(plan: PrecisionPlan, costs: NodeCosts, records: Mapping[str, EngineRecord], bundle: Path) -> Extras:
    manifests = {path.parent.name: EngineManifest.load(path.parent) for path in bundle.glob("engines/*/engine.json")}
    return Extras(
        nodes=[
            NodeRow(
                name,
                node.op_type,
                node.dtype.value,
                node.reason,
                node.macs,
                node.cost_db,
                costs.milliseconds.get(name),
            )
            for name, node in plan.nodes.items()
        ],
        times_are=costs.what,
        drift=_drift(plan),
        error_begins=plan.origin.sentence if plan.origin is not None else "",
        latencies={name: record.latency for name, record in records.items()},
        op_times={name: record.op_times for name, record in records.items()},
        layers={name: manifest.layers for name, manifest in sorted(manifests.items()) if manifest.layers},
    )


def _drift(plan: PrecisionPlan) -> list[DriftRow]:
    """A row per node in graph order; none where nothing was measured."""
    if all(node.drift_db is None for node in plan.nodes.values()):
        return []
    return [DriftRow(name, node.op_type, node.drift_db) for name, node in plan.nodes.items()]
