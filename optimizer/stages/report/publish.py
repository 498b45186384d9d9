"""The files of a bundle that people read: report.json, report.html, precision.json."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from benchmarks.report.extras import Extras, NodeRow
from benchmarks.report.model import Report, write_report
from benchmarks.report.page import render_page
from engines.manifest import EngineManifest
from graphs.files import write_atomically
from optimizer.precision import PrecisionPlan
from optimizer.stages.engines.record import EngineRecord


def write_pages(report: Report, plan: PrecisionPlan, records: Mapping[str, EngineRecord], bundle: Path) -> None:
    """Write ``report.json`` and ``report.html`` into the bundle."""
    write_report(bundle / "report.json", report)
    page = render_page(report, _extras(plan, records, bundle))
    write_atomically(bundle / "report.html", page.encode())


def _extras(plan: PrecisionPlan, records: Mapping[str, EngineRecord], bundle: Path) -> Extras:
    manifests = {path.parent.name: EngineManifest.load(path.parent) for path in bundle.glob("engines/*/engine.json")}
    return Extras(
        nodes=[
            NodeRow(name, node.op_type, node.dtype.value, node.reason, node.macs, node.cost_db)
            for name, node in plan.nodes.items()
        ],
        latencies={name: record.latency for name, record in records.items()},
        op_times={name: record.op_times for name, record in records.items()},
        layers={name: manifest.layers for name, manifest in sorted(manifests.items()) if manifest.layers},
    )
