"""The numbers of a report, field for field as ``report.json`` stores them.

The names are a contract with readers of ``report.json``: fields may be added, none renamed. ``None`` means *not
measured*; nothing here is ever filled with an estimate: what is expected of a target that is not here stands apart,
under ``prediction``. Latencies are milliseconds, throughputs samples per second,
sizes bytes, unless a field says otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal

from benchmarks.accuracy.compare import OutputAccuracy
from benchmarks.accuracy.first_difference import FirstDifference
from benchmarks.accuracy.task_metric import TaskAccuracy
from benchmarks.loadgen.curve import SearchSummary
from benchmarks.loadgen.settings import LoadgenResult
from benchmarks.measurement import Latency, Verdict
from benchmarks.mlperf.summary import WorkloadSummary
from benchmarks.report.budget import BudgetSummary, PrecisionSearch
from benchmarks.report.plan_followed import PlanFollowed
from benchmarks.report.updated import UpdateSummary
from benchmarks.roofline.prediction import Prediction
from benchmarks.timing.quantized_costs import QuantizedCosts
from benchmarks.timing.steady import Steadiness
from graphs.files import read_json, write_json

SCHEMA = 1
"""Version of the layout of report.json."""
Status = Literal["ok", "over_budget", "partial", "invalid"]
"""``invalid`` is of ``optimize bench`` alone: its LoadGen run does not count."""
TargetStatus = Literal["measured", "built", "skipped"]


@dataclass(frozen=True)
class ModelSummary:
    """The model as given. ``flops`` is two per multiply-accumulate, for one sample at the profile's usual shape;
    ``quantization`` says how it came quantized, and whether that was kept.
    """

    name: str
    digest: str
    parameters: int
    flops: int | None
    bytes: int
    quantization: str = ""


@dataclass(frozen=True)
class PrecisionSummary:
    """``nodes`` counts nodes per dtype; ``int8_mac_share`` is the share of multiply-accumulates (0 to 1) whose two
    operands both arrive dequantized from int8. ``sparsity`` is ``2:4`` where weights were pruned; ``plan`` says what
    of a plan that was given came true; ``mac_shares`` are those planned in each quantized dtype (``fp8``, ``int4``);
    ``sparse_nodes`` counts products whose weight is 2:4 in the graph, whoever made it so."""

    requested: str
    nodes: dict[str, int]
    int8_mac_share: float | None
    sparsity: str = "none"
    plan: PlanFollowed | None = None
    mac_shares: dict[str, float] = field(default_factory=dict)
    sparse_nodes: int = 0

    @staticmethod
    def of(
        requested: str,
        dtypes: Sequence[str],
        int8_mac_share: float | None,
        sparsity: str = "none",
        plan: PlanFollowed | None = None,
        mac_shares: Mapping[str, float] | None = None,
        sparse_nodes: int = 0,
    ) -> PrecisionSummary:
        """Count ``dtypes``, one per node; int8, fp16 and fp32 are always present."""
        names = dict.fromkeys(["int8", "fp16", "fp32", *dtypes])
        nodes = {name: list(dtypes).count(name) for name in names}
        return PrecisionSummary(requested, nodes, int8_mac_share, sparsity, plan, dict(mac_shares or {}), sparse_nodes)

    @property
    def main_share(self) -> tuple[str, float] | None:
        """What is quantized of most work, and its share: INT8 as its operands arrive in the graph, others as planned;
        None where neither is known.
        """
        others = {dtype: share for dtype, share in self.mac_shares.items() if dtype != "int8" and share}
        if others and not self.int8_mac_share:
            return max(others.items(), key=lambda item: item[1])
        return None if self.int8_mac_share is None else ("int8", self.int8_mac_share)


@dataclass(frozen=True)
class OutputFidelity:
    """One graph output against FP32 on held-back samples; formulas in ``benchmarks.accuracy.compare``.

    ``sqnr_db`` is capped at 200, which bit-equal outputs have. ``agreement`` is the share of samples with the same
    decision, ``agreement_kind`` what a decision is. ``failure`` says why the figures must not be trusted.
    """

    cosine: float | None
    sqnr_db: float | None
    max_abs: float | None
    agreement: float | None = None
    agreement_kind: str = ""
    failure: str = ""

    @staticmethod
    def of(measured: OutputAccuracy) -> OutputFidelity:
        """The report's form: an infinite error becomes None, since JSON has no infinity."""
        return OutputFidelity(
            cosine=measured.cosine,
            sqnr_db=measured.sqnr_db,
            max_abs=measured.max_abs if math.isfinite(measured.max_abs) else None,
            agreement=measured.agreement,
            agreement_kind=measured.agreement_kind,
            failure=measured.failure,
        )

    @property
    def exact(self) -> bool:
        return self.max_abs == 0


@dataclass(frozen=True)
class AccuracySummary:
    """``samples`` held-back inputs; ``task`` the user's metric; ``max_drop`` the budget, relative to FP32 (0.01 is
    1 %); ``source`` where the inputs came from; ``how`` whether an engine was measured or its graph simulated;
    ``budget`` whether the budget holds, where one was given."""

    samples: int
    outputs: dict[str, OutputFidelity]
    task: TaskAccuracy | None = None
    max_drop: float | None = None
    source: str = ""
    how: str = ""
    budget: BudgetSummary | None = None


@dataclass(frozen=True)
class Percentiles:
    """Latency percentiles in milliseconds."""

    p50: float | None
    p90: float | None
    p99: float | None

    @staticmethod
    def of(latency: Latency) -> Percentiles:
        return Percentiles(latency.p50, latency.p90, latency.p99)


@dataclass(frozen=True)
class FormSummary:
    """One form that an engine could have shipped in, measured in the same run as the others.

    ``accuracy`` is the engine's own; ``copy_in_ms``, ``compute_ms`` and ``copy_out_ms`` lie between CUDA events, one
    sample in flight, and ``batch_compute_ms`` is of one batch of the target's ``batch``; ``failed`` says why it has no
    engine or did not run. ``int8_native`` is the share of the nodes planned in int8 that the engine's layer table shows
    in int8. ``first_difference`` is where the engine begins to differ from the simulation of its graph, where it was
    looked for.
    """

    latency_ms: Percentiles | None = None
    throughput: float | None = None
    accuracy: dict[str, OutputFidelity] | None = None
    task: TaskAccuracy | None = None
    inferences_per_joule: float | None = None
    copy_in_ms: float | None = None
    compute_ms: float | None = None
    copy_out_ms: float | None = None
    engine_bytes: int | None = None
    build_seconds: float | None = None
    failed: str = ""
    first_difference: FirstDifference | None = None
    batch_compute_ms: float | None = None
    int8_native: float | None = None


@dataclass(frozen=True)
class TargetSummary:
    """One target's engine.

    ``engine`` is relative to the bundle. ``reason`` says why a target is only built, or skipped; ``next_command`` is
    what to run to measure it there. ``kept_precision`` is what the engine really ships in and ``why``.
    ``notes`` say what of the build options was ignored, and what the engine could do without.
    ``accuracy_simulated`` tells the numbers of a stand-in from an engine's own; ``accuracy_how`` says which.
    ``steadiness`` says whether the timings can be trusted, under which conditions they were taken, and the outliers.
    ``quantized_costs`` says which nodes and conversions made the quantized form slow, where it was no faster than FP32.
    ``prediction`` is a roofline model's of a GPU, in place of a measurement or beside it. ``int8_native`` is the share
    of the nodes planned in int8 that the engine's layer table shows in int8, None where it shows none of them;
    ``forms`` are those that a GPU's engine was chosen from, by precision. ``timed_earlier`` is when an earlier run on
    this machine took the times, in ISO 8601; empty where this run did.
    """

    backend: str
    status: TargetStatus
    reason: str = ""
    engine: str | None = None
    engine_bytes: int | None = None
    build_seconds: float | None = None
    latency_ms: Percentiles | None = None
    throughput: float | None = None
    speedup_vs_fp32: float | None = None
    kept_precision: str | None = None
    why: str = ""
    notes: list[str] = field(default_factory=list)
    title: str = ""
    next_command: str = ""
    batch: int | None = None
    accuracy: dict[str, OutputFidelity] | None = None
    accuracy_how: str = ""
    accuracy_simulated: bool = False
    fp32_latency_ms: Percentiles | None = None
    fp32_throughput: float | None = None
    fp32_bytes: int | None = None
    steadiness: Steadiness | None = None
    prediction: Prediction | None = None
    int8_native: float | None = None
    quantized_costs: QuantizedCosts | None = None
    forms: dict[str, FormSummary] = field(default_factory=dict)
    timed_earlier: str = ""


@dataclass(frozen=True)
class LoadgenSummary:
    """One LoadGen run. ``metric`` says what ``value`` is, ``unit`` its unit; percentiles are milliseconds per query,
    None for Offline, where all samples wait for one query. ``reasons`` explain an invalid run in words, ``notes`` what
    was chosen; ``log_dir`` is relative to the bundle. ``failed`` samples got no right answer; ``workload`` judges a
    benchmark task's accuracy and rules; ``search`` holds the latency-versus-load curve."""

    valid: bool
    metric: str
    value: float | None
    reasons: list[str] = field(default_factory=list)
    p50: float | None = None
    p90: float | None = None
    p99: float | None = None
    samples: int | None = None
    duration_s: float | None = None
    log_dir: str | None = None
    unit: str = ""
    notes: list[str] = field(default_factory=list)
    queries: int | None = None
    batch: int | None = None
    batch_histogram: dict[str, int] = field(default_factory=dict)
    target_qps: float | None = None
    loadgen_version: str = ""
    failed: int = 0
    workers: int = 1
    workload: WorkloadSummary | None = None
    search: SearchSummary | None = None

    @staticmethod
    def of(result: LoadgenResult, log_dir: str) -> LoadgenSummary:
        """The report's form of a run whose raw logs lie in ``log_dir`` of the bundle."""
        names = {entry.name for entry in fields(LoadgenSummary)}
        values = {entry.name: getattr(result, entry.name) for entry in fields(result) if entry.name in names}
        return LoadgenSummary(**{**values, "log_dir": log_dir})


@dataclass(frozen=True)
class PlasterFigure:
    """One of the seven; ``value`` is None where it cannot be measured here, and ``how`` then says what would.

    ``details`` are the figures behind it by name (``p99_ms``, ``memory_bytes``, ``cold_s``); None: not measured.
    """

    value: float | None
    unit: str
    how: str
    details: dict[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Plaster:
    """NVIDIA's PLASTER: programmability, latency, accuracy, size, throughput, energy, rate of learning."""

    programmability: PlasterFigure
    latency: PlasterFigure
    accuracy: PlasterFigure
    size: PlasterFigure
    throughput: PlasterFigure
    energy: PlasterFigure
    rate_of_learning: PlasterFigure


@dataclass(frozen=True)
class Report:
    """Everything measured in one run of ``optimize``. ``timings`` are seconds by stage, of stages side by side their
    share of the time; of stages in ``kept``, whose result an earlier run had left, what they took then. ``search`` is
    by the graph that was searched for: ``tensorrt`` (``model.onnx`` where a GPU is a target), ``cpu``. ``update``
    says of an ``optimize update`` what was kept of the bundle before.
    """

    status: Status
    verdict: Verdict
    calibrated: bool
    model: ModelSummary
    precision: PrecisionSummary
    accuracy: AccuracySummary | None
    targets: dict[str, TargetSummary]
    loadgen: dict[str, dict[str, LoadgenSummary]]
    plaster: Plaster | None
    timings: dict[str, float]
    peak_rss_mb: float | None
    schema: int = SCHEMA
    created: str = ""
    command: str = ""
    calibration: dict[str, str] = field(default_factory=dict)
    machine: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    search: dict[str, PrecisionSearch] = field(default_factory=dict)
    update: UpdateSummary | None = None

    @property
    def run_seconds(self) -> float:
        """What this run took."""
        return sum(seconds for stage, seconds in self.timings.items() if stage not in self.kept)


def write_report(path: Path, report: Report) -> None:
    """Write ``report.json`` atomically."""
    write_json(path, report)


def read_report(path: Path) -> Report:
    """Read ``report.json``. Raises ``BadInput`` naming the field that does not fit."""
    return read_json(path, Report)
