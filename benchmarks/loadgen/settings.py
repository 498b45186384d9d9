"""What a LoadGen run is asked to do, and what comes back."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from benchmarks.score import TaskScore
from benchmarks.task import TaskPlace


class Scenario(str, Enum):
    """The four ways LoadGen sends queries (MLPerf Inference rules)."""

    SINGLE_STREAM = "singlestream"
    MULTI_STREAM = "multistream"
    SERVER = "server"
    OFFLINE = "offline"


SCENARIO_NAMES = {
    Scenario.SINGLE_STREAM: "SingleStream",
    Scenario.MULTI_STREAM: "MultiStream",
    Scenario.SERVER: "Server",
    Scenario.OFFLINE: "Offline",
}
"""The scenarios as LoadGen's configuration files write them."""
AUDIT_FILE = "audit.config"


class Mode(str, Enum):
    """Measure speed, or send every sample once and log what the engine answered."""

    PERFORMANCE = "performance"
    ACCURACY = "accuracy"


@dataclass(frozen=True)
class Seeds:
    """LoadGen's random seeds; the default are those compiled into mlcommons-loadgen 6.0 (the official ones)."""

    qsl: int = 2085463073848966840
    sample_index: int = 2747215439041700203
    schedule: int = 16159082839903944936


MIN_QUERIES = {
    Scenario.SINGLE_STREAM: 64,
    Scenario.MULTI_STREAM: 662,
    Scenario.SERVER: 459,
    Scenario.OFFLINE: 1,
}
"""Fewest queries LoadGen's early stopping accepts (p90 / p99 / p99 with none over the bound, confidence 0.99)."""


@dataclass(frozen=True)
class LoadgenSettings:
    """One run.

    - ``duration_s``: the least time the run takes; ``limit_s``: the most time spent issuing queries. A model so slow
      that the minimum number of queries needs longer than ``duration_s`` is given up to ``limit_s``; a run that needs
      even longer is invalid.
    - ``latency_bound_ms``: Server's bound on p99. ``target_qps``: Server's rate; None takes 60 % of the probed
      capacity.
    - ``max_batch``: largest batch the SUT forms; None probes 1 to 64. ``batch``: this batch, whatever the probe says.
      ``max_wait_ms``: how long Server's batcher waits for more samples once it holds one (0: it takes what is there).
    - ``workers``: engine instances, each in its own thread (Offline and Server).
    - ``shortened``: ``duration_s`` in place of the official 600 s, which makes an official run unofficial.
    - ``stall_s``: an inference longer than this counts as hung and the process is killed.
    - ``official``: the model's name in mlperf.conf (``"resnet50"``) for the official settings: 600 s, minimum queries,
      latency bounds and seeds from LoadGen's compiled-in configuration. Empty for the settings above.
    - ``audit``: the text of an ``audit.config``, which overrides settings (compliance tests); where it asks for
      ``accuracy_log`` samples, answers carry their outputs also in a performance run.
    """

    scenario: Scenario
    mode: Mode = Mode.PERFORMANCE
    duration_s: float = 5.0
    limit_s: float = 60.0
    latency_bound_ms: float = 100.0
    target_qps: float | None = None
    samples_per_query: int = 8
    max_batch: int | None = None
    batch: int | None = None
    max_wait_ms: float = 0.0
    workers: int = 1
    shortened: bool = False
    stall_s: float = 20.0
    seeds: Seeds = field(default_factory=Seeds)
    official: str = ""
    audit: str = ""

    @property
    def logs_answers(self) -> bool:
        """Whether LoadGen writes answers into its accuracy log."""
        return self.mode is Mode.ACCURACY or "accuracy_log" in self.audit


@dataclass(frozen=True)
class LoadgenRequest:
    """Run LoadGen on ``engine``: a bundle's engine folder, an ``.onnx`` file, ``grpc://HOST:PORT/MODEL`` (a Triton or
    other KServe v2 server), or ``file.py:function`` returning an ``Engine``.

    ``samples`` are ``.npz`` files as ``benchmarks.samples.library.save_samples`` writes them, or empty where ``task``
    has its own. Official runs then take Server's bound and the performance sample count from the task: LoadGen's
    configuration has forgotten tasks of early rounds. ``log_dir`` is made and receives the raw ``mlperf_log_*`` files
    and what the child process printed.
    """

    engine: str
    samples: tuple[str, ...]
    settings: LoadgenSettings
    log_dir: str
    task: TaskPlace | None = None


@dataclass(frozen=True)
class LoadgenResult:
    """The outcome. ``valid`` is LoadGen's verdict and ours: any failed, wrong or unserved sample makes it False, and
    ``reasons`` say why in words, with the nearest setting that would pass; ``notes`` say what was chosen.

    ``metric``/``value``/``unit``: p90 latency (ms) for SingleStream, p99 (ms) for MultiStream (both early-stopping
    estimates), completed queries per second for Server, samples per second for Offline. ``p50``/``p90``/``p99`` are
    milliseconds per query, None for Offline where every sample waits for the one query. ``engine_s`` is the part of
    ``duration_s`` spent inside the engine (mean over workers). ``samples`` were completed, ``failed`` of them without a
    right answer; ``ended_early`` tells that nothing but its time is missing from an Offline run, because the
    engine was faster than the probe said; ``score`` is the task's metric after an accuracy run.
    """

    scenario: Scenario
    mode: Mode
    valid: bool
    metric: str
    value: float | None
    unit: str
    reasons: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    p50: float | None = None
    p90: float | None = None
    p99: float | None = None
    samples: int = 0
    queries: int = 0
    duration_s: float = 0.0
    engine_s: float = 0.0
    log_dir: str = ""
    batch: int = 1
    batch_histogram: dict[str, int] = field(default_factory=dict)
    target_qps: float | None = None
    loadgen_version: str = ""
    failed: int = 0
    workers: int = 1
    ended_early: bool = False
    score: TaskScore | None = None


def per_second(rate: float) -> str:
    """``14,560``; ``12.34``."""
    return f"{rate:,.0f}" if rate >= 1000 else f"{rate:.4g}"
