"""What ``optimize bench`` measures: an engine of a bundle, a model file, a folder of graphs, or a served model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks.measurement import Verdict
from benchmarks.mlperf.rules import ModelFacts
from benchmarks.report.model import ModelSummary, PrecisionSummary, Report, read_report
from calibration.table import FROM_SOURCE
from engines.manifest import EngineManifest
from engines.targets.target import CPU
from graphs.errors import BadInput
from graphs.storage.mapped_weights import read_graph
from graphs.storage.model_files import model_bytes, model_digest
from optimizer.bundle import MANIFEST, MODEL, Bundle
from optimizer.importing.load import count_parameters
from optimizer.precision import Dtype

_TRITON = "triton"
"""What the report calls a served model."""


@dataclass(frozen=True)
class BenchSubject:
    """``engine`` as ``engines.source`` opens it, and the ``name`` a report has for it; ``report`` is the bundle's, or
    one that only names the model; ``facts`` are what MLPerf's divisions ask about it; ``graph`` the ONNX file behind
    it, where there is one.
    """

    engine: str
    name: str
    report: Report
    facts: ModelFacts
    graph: Path = Path()


def find_subject(path: Path, target: str | None, remote: str = "") -> BenchSubject:
    """``remote`` (``grpc://…``) takes the place of the bundle's own engine. Raises ``BadInput``."""
    if (path / MANIFEST).is_file():
        bundle = Bundle(path)
        report = read_report(bundle.path / "report.json")
        graph = bundle.path / MODEL
        if remote:
            return BenchSubject(remote, _TRITON, report, _facts(report, bundle.plan().computes_in), graph)
        name = target or bundle.usual_target()
        folder = bundle.engine_directory(name)
        return BenchSubject(str(folder), name, report, _facts(report, EngineManifest.load(folder).precision), graph)
    name = _TRITON if remote else target or CPU.name
    if path.suffix == ".onnx" and path.is_file():
        return BenchSubject(remote or str(path.absolute()), name, _bare_report(path, [path]), ModelFacts(), path)
    graphs = sorted([*path.glob("*.onnx"), *path.glob("engine.json"), *path.glob("*/engine.json")])
    if graphs:
        return BenchSubject(remote or str(path.absolute()), name, _bare_report(path, graphs), ModelFacts())
    raise BadInput(
        "is nothing to measure" if path.exists() else "no such bundle",
        where=str(path),
        expected="a bundle, a .onnx file, or a folder of the graphs a workload wants",
        fix="run `optimize MODEL.onnx`",
    )


def _facts(report: Report, precision: str) -> ModelFacts:
    """Of the engine at hand, which computes in ``precision``: one that ships FP32 was not calibrated on anything."""
    own = report.calibration.get("method") == FROM_SOURCE
    quantized = not own and Dtype(precision).quantized
    data = report.calibration.get("data", "your calibration data")
    return ModelFacts(
        sparsity=report.precision.sparsity,
        calibrated_on=data if quantized and report.calibrated else "",
        data_free=quantized and not report.calibrated,
    )


def _bare_report(path: Path, files: list[Path]) -> Report:
    """A report of the shape that readers expect, for a model that went through no job."""
    models = [file for file in files if file.suffix == ".onnx"]
    size = sum(map(model_bytes, models))
    digest = model_digest(files[0]) if len(models) == len(files) == 1 else ""
    return Report(
        status="ok",
        verdict=Verdict(True),
        calibrated=False,
        model=ModelSummary(path.name, digest, sum(count_parameters(read_graph(model)) for model in models), None, size),
        precision=PrecisionSummary.of("as given", [], None),
        accuracy=None,
        targets={},
        loadgen={},
        plaster=None,
        timings={},
        peak_rss_mb=None,
    )
