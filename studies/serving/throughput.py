"""Requests per second of ``optimize serve``, of Triton on the same bundle, and of the engine alone, in turns."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.serving.closed_loop import WARMUP_SECONDS, LoadResult, closed_loop
from deployment.served_engine import read_served_engines
from engines.engine import Engine, Feed, TensorSpec
from engines.kserve import KserveEngine
from engines.open import open_engine
from graphs.errors import BadInput
from studies.serving.ours import NAME, Process, serving

CLIENTS = (1, 16)  # one alone, and as many as fill batches


@dataclass
class Cell:
    """One server, protocol and number of clients: a result per round, and processor microseconds per request."""

    who: str
    clients: int
    rounds: list[LoadResult] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return statistics.median(result.rate for result in self.rounds)

    @property
    def failures(self) -> list[str]:
        """A line for each round in which requests failed."""
        return [f"{result.failed} failed in one round: {result.error}" for result in self.rounds if result.failed]

    def text(self, beside: float | None) -> str:
        latency = [result.latency_ms for result in self.rounds if result.latency_ms is not None]
        p50, p99 = (statistics.median(getattr(each, name) for each in latency) for name in ("p50", "p99"))
        failed = sum(result.failed for result in self.rounds)
        share = f"{self.rate / beside:.0%}" if beside else "–"
        cpu = f"{statistics.median(self.cpu_us):.0f}" if self.cpu_us else "–"
        return (
            f"| {self.who} | {self.clients} | {self.rate:,.0f} | {p50:.2f} | {p99:.2f} | {cpu} | {share} | {failed} |"
        )


@dataclass(frozen=True)
class _Subject:
    who: str
    open: Callable[[], Engine]
    process: Process | None = None


def measure(bundle: Path, seconds: float, rounds: int, say: Callable[[str], None]) -> Iterator[str]:
    """Lines of a table. Where no tritonserver is here, its rows are left out and that is said."""
    (served,) = read_served_engines(bundle, ["cpu"])
    feed = feed_of(served.manifest.inputs)
    with ExitStack() as stack:
        ours = stack.enter_context(serving(bundle))
        subjects = [_Subject("the engine alone, in this process", lambda: open_engine(served.folder))]
        for protocol in ("http", "grpc"):
            source = ours.source(protocol)
            subjects.append(_Subject(f"optimize serve, {protocol}", partial(KserveEngine.open, source), ours.process))
        subjects += _triton(bundle, stack, say)
        cells = {(each.who, clients): Cell(each.who, clients) for each in subjects for clients in CLIENTS}
        for number in range(rounds):
            say(f"round {number + 1} of {rounds}")
            for subject in subjects:
                for clients in CLIENTS:
                    _one(subject, cells[subject.who, clients], feed, clients, seconds)
    yield "| what answers | clients | requests/s | p50 ms | p99 ms | its CPU µs per request | of Triton's | failed |"
    yield "|---|---|---|---|---|---|---|---|"
    for (who, clients), cell in cells.items():
        beside = cells.get((who.replace("optimize serve", "Triton"), clients)) if "serve" in who else None
        yield cell.text(beside.rate if beside else None)
    yield from (f"{who}, {clients} clients: {told}" for (who, clients), cell in cells.items() for told in cell.failures)


def _one(subject: _Subject, cell: Cell, feed: Feed, clients: int, seconds: float) -> None:
    before = subject.process.cpu_seconds() if subject.process else 0.0
    result = closed_loop(subject.open, [feed], clients=clients, seconds=seconds)
    cell.rounds.append(result)
    if subject.process and result.requests:  # those of the warm-up cost as much
        counted = result.requests * (seconds + WARMUP_SECONDS) / seconds
        cell.cpu_us.append((subject.process.cpu_seconds() - before) / counted * 1e6)


def _triton(bundle: Path, stack: ExitStack, say: Callable[[str], None]) -> list[_Subject]:
    from deployment.triton.repository.options import TritonOptions
    from deployment.triton.repository.write import write_triton_repository
    from deployment.triton.server.files import find_server
    from deployment.triton.server.local_server import local_server

    try:
        files = find_server()
    except BadInput as error:
        say(f"without Triton: {error.what}; {error.fix}")
        return []
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    write_triton_repository(
        bundle, folder / "models", name=NAME, targets=["cpu"], options=TritonOptions(backend="python")
    )
    control = stack.enter_context(local_server(files, folder / "models"))
    control.check_loaded(NAME)
    sources = {"http": f"http://{control.http}/{NAME}", "grpc": f"grpc://{control.grpc}/{NAME}"}
    return [_Subject(f"Triton, {protocol}", partial(KserveEngine.open, source)) for protocol, source in sources.items()]


def feed_of(specs: Sequence[TensorSpec]) -> Feed:
    """One sample of seeded random values in 0 to 1; dynamic axes are 1."""
    rng = np.random.default_rng(0)
    return {
        spec.name: rng.random([size if isinstance(size, int) else 1 for size in spec.shape]).astype(spec.dtype)
        for spec in specs
    }
