"""What the server counts: for Prometheus, and for the protocol's statistics extension."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from deployment.serving.batcher import Ran
from deployment.serving.limits import Gate
from deployment.serving.refusals import Refusal
from graphs.optional_packages import optional

_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Bounds of the histograms of seconds. Chosen: from a small model's run to what a user waits for."""
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128)
"""Bounds of the histogram of rows in a batch. Chosen: powers of two, as batches grow."""
_NS = 1e-9  # seconds


@dataclass
class BatchCount:
    """Runs of one batch size."""

    count: int = 0
    compute_ns: int = 0


@dataclass
class VersionFigures:
    """Sums over one version of a model since it was loaded; times in nanoseconds."""

    requests: int = 0
    failed: int = 0
    rows: int = 0
    runs: int = 0
    queue_ns: int = 0
    compute_ns: int = 0
    batches: dict[int, BatchCount] = field(default_factory=lambda: defaultdict(BatchCount))

    def add(self, ran: Ran) -> None:
        self.requests += ran.requests
        self.failed += ran.failed
        self.rows += ran.rows
        self.runs += 1
        self.queue_ns += sum(ran.waited_ns)
        self.compute_ns += ran.computed_ns
        batch = self.batches[ran.rows]
        batch.count += 1
        batch.compute_ns += ran.computed_ns


class Metrics:
    """The page at ``/metrics``. Raises ``BadInput`` where the library is not installed."""

    def __init__(self, gate: Gate) -> None:
        self._library = optional("prometheus_client", "serve", "the metrics page")
        self._registry = self._library.CollectorRegistry()
        which = ("model", "version")
        self._answers = self._counter("requests", "Requests answered, refusals included", ("protocol", "code"))
        self._runs = self._counter("executions", "Runs of an engine", which)
        self._rows = self._histogram("batch_rows", "Samples in one run of an engine", which, _ROWS)
        self._queue = self._histogram("queue_seconds", "Seconds a request waited for an engine", which, _SECONDS)
        self._compute = self._histogram("compute_seconds", "Seconds of one run of an engine", which, _SECONDS)
        self._request = self._histogram("request_seconds", "Seconds of a request", ("protocol",), _SECONDS)
        self._gauge("requests_in_progress", "Requests being served", lambda: gate.requests)
        self._gauge("request_bytes", "Bytes of the bodies being served", lambda: gate.bytes)
        self._gauge("requests_limit", "Requests served at once at most", lambda: gate.limits.requests)
        self._counted: dict[tuple[str, int], Any] = {}

    def answered(self, protocol: str, code: int, seconds: float) -> None:
        """An inference was answered with a status of HTTP."""
        counted = self._counted.get((protocol, code))
        if counted is None:
            pair = self._answers.labels(protocol, str(code)), self._request.labels(protocol)
            counted = self._counted[protocol, code] = pair
        counted[0].inc()
        if code == 200:
            counted[1].observe(seconds)

    @contextmanager
    def timed(self, protocol: str) -> Iterator[None]:
        """Counts the inference inside by its status, and how long it took where it was answered."""
        started, status = perf_counter(), 499  # as proxies write it: the client has gone
        try:
            yield
            status = 200
        except Refusal as refusal:
            status = refusal.status
            raise
        finally:
            self.answered(protocol, status, perf_counter() - started)

    def recorder(self, model: str, version: str) -> VersionRecorder:
        """What hears of every run of a version."""
        labelled = (m.labels(model, version) for m in (self._runs, self._rows, self._queue, self._compute))
        return VersionRecorder(*labelled)

    def page(self) -> bytes:
        text: bytes = self._library.generate_latest(self._registry)
        return text

    def _counter(self, name: str, says: str, labels: Iterable[str]) -> Any:
        return self._library.Counter(f"inference_{name}", says, labels, registry=self._registry)

    def _histogram(self, name: str, says: str, labels: Iterable[str], buckets: Iterable[float]) -> Any:
        return self._library.Histogram(f"inference_{name}", says, labels, buckets=buckets, registry=self._registry)

    def _gauge(self, name: str, says: str, value: Any) -> None:
        self._library.Gauge(f"inference_{name}", says, registry=self._registry).set_function(value)


class VersionRecorder:
    """Counts the runs of one version."""

    def __init__(self, runs: Any, rows: Any, queue: Any, compute: Any) -> None:
        self.figures = VersionFigures()
        self._runs, self._rows, self._queue, self._compute = runs, rows, queue, compute

    def __call__(self, ran: Ran) -> None:
        self.figures.add(ran)
        self._runs.inc()
        self._rows.observe(ran.rows)
        self._compute.observe(ran.computed_ns * _NS)
        for waited in ran.waited_ns:
            self._queue.observe(waited * _NS)
