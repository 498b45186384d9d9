"""What a model registry wants to know of a bundle: flat parameters, metrics and tags, from its report.

A metric is a number that was measured on an engine, or simulated of a graph (``simulated`` is in its name then);
predictions are none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from benchmarks.report.model import OutputFidelity, Report, TargetSummary

_NOT_IN_NAMES = re.compile(r"[^\w\-. /]")
"""What MLflow does not take in the name of a metric or a parameter (``mlflow.utils.validation``): others take less
or the same."""


@dataclass(frozen=True)
class RegistryEntry:
    """``params`` say how the bundle came about, ``metrics`` what it reached (names as paths: ``cpu/p99_ms``), ``tags``
    what it is.
    """

    name: str
    params: dict[str, str]
    metrics: dict[str, float]
    tags: dict[str, str]


class Tracking(Protocol):
    """The functions of ``mlflow`` that are called."""

    def log_params(self, params: dict[str, str]) -> object: ...
    def log_metrics(self, metrics: dict[str, float]) -> object: ...
    def set_tags(self, tags: dict[str, str]) -> object: ...
    def log_artifacts(self, local_dir: str, artifact_path: str | None = None) -> object: ...


def registry_entry(report: Report, name: str) -> RegistryEntry:
    """The entry of the bundle that ``report`` is of."""
    params = {
        "precision": report.precision.requested,
        "sparsity": report.precision.sparsity,
        "targets": ",".join(report.targets),
        "calibrated": str(report.calibrated).lower(),
        **{f"calibration.{key}": value for key, value in report.calibration.items()},
        "command": report.command,
    }
    tags = {
        "status": report.status,
        "model": report.model.name,
        "model_digest": report.model.digest,
        "created": report.created,
        **{f"version.{key}": value for key, value in report.versions.items()},
    }
    return RegistryEntry(name, {key: value for key, value in params.items() if value}, _named(_metrics(report)), tags)


def _named(metrics: Iterator[tuple[str, float]]) -> dict[str, float]:
    """Under names that a registry takes; of outputs whose names come to the same, the later ones are numbered."""
    found: dict[str, float] = {}
    for key, value in metrics:
        name = plain = _NOT_IN_NAMES.sub("_", key)
        number = 2
        while name in found:
            name, number = f"{plain}_{number}", number + 1
        found[name] = value
    return found


def log_to_mlflow(entry: RegistryEntry, bundle: str, tracking: Tracking | None = None) -> None:
    """Log parameters, metrics, tags and the bundle's files to the active run of MLflow, or a new one.

    ``tracking`` is the module ``mlflow``, imported where it is not given: install it beside enginewright.
    """
    if tracking is None:
        import mlflow  # the user's own

        tracking = mlflow
    assert tracking is not None
    tracking.log_params(entry.params)
    tracking.log_metrics(entry.metrics)
    tracking.set_tags(entry.tags)
    tracking.log_artifacts(bundle, artifact_path="bundle")


def _metrics(report: Report) -> Iterator[tuple[str, float]]:
    yield "parameters", float(report.model.parameters)
    if report.precision.int8_mac_share is not None:
        yield "int8_mac_share", report.precision.int8_mac_share
    if report.accuracy is not None and (task := report.accuracy.task) is not None:
        yield from ((f"task/{task.metric}", task.optimized), (f"task/{task.metric}_fp32", task.fp32))
        yield f"task/{task.metric}_drop", task.drop
    for name, target in report.targets.items():
        yield from ((f"{name}/{key}", value) for key, value in _of_target(target))
    for name, scenarios in report.loadgen.items():
        for scenario, run in scenarios.items():
            if run.valid and run.value is not None:
                yield f"{name}/loadgen/{scenario}", run.value


def _of_target(target: TargetSummary) -> Iterator[tuple[str, float]]:
    latency = target.latency_ms
    found = {
        "engine_bytes": target.engine_bytes,
        "build_seconds": target.build_seconds,
        "p50_ms": latency.p50 if latency is not None else None,
        "p90_ms": latency.p90 if latency is not None else None,
        "p99_ms": latency.p99 if latency is not None else None,
        "samples_per_s": target.throughput,
        "speedup_vs_fp32": target.speedup_vs_fp32,
    }
    yield from ((key, float(value)) for key, value in found.items() if value is not None)
    if target.accuracy is not None:
        yield from _of_outputs("simulated" if target.accuracy_simulated else "accuracy", target.accuracy)


def _of_outputs(what: str, outputs: Mapping[str, OutputFidelity]) -> Iterator[tuple[str, float]]:
    for name, output in outputs.items():
        found = {"sqnr_db": output.sqnr_db, "cosine": output.cosine, "agreement": output.agreement}
        yield from ((f"{what}/{name}/{key}", value) for key, value in found.items() if value is not None)
