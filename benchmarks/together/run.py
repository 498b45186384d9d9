"""Running engines alone and together, and what each keeps: ``run_together``.

Every engine gets a process of its own, pinned to its cores or to its MIG instance, and keeps it: alone it has the very
place it has in company, so the difference is what the others cost (memory bandwidth, caches, power, clocks). Rounds of
"each alone, then all together" are repeated and medians taken, so that a slow moment does not fall on one side only.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.timing.bursts import variation
from benchmarks.timing.conditions import Conditions, read_conditions
from benchmarks.together.placement import Placement
from benchmarks.together.worker import Window, WorkerJob
from engines.engine import Feed
from engines.errors import EngineError
from engines.processes.child_process import Child, last_line
from graphs.files import write_json

LEAD_SECONDS = 0.1
"""Time between the command to start and the start, so that all engines have it by then. Chosen."""
READY_SECONDS = 300.0
"""Longest time that an engine may take to open. Chosen."""
LARGEST_VARIATION = 0.10
"""Variation of a throughput between rounds above which shares are not trusted; chosen, twice that of a single
engine.
"""


@dataclass(frozen=True)
class Tenant:
    """One engine to run: its folder, one feed, the batch its feed is repeated to, and its place."""

    name: str
    folder: Path
    feed: Feed
    batch: int
    placement: Placement


@dataclass(frozen=True)
class TenantResult:
    """Samples/s alone and in company (medians over rounds); ``share`` is the second over the first."""

    name: str
    place: str
    batch: int
    alone: float
    together: float
    share: float
    alone_p99_ms: float
    together_p99_ms: float
    variation: float


@dataclass(frozen=True)
class Together:
    """``aggregate`` samples/s of all in company; ``efficiency`` the mean share; ``fairness`` Jain's index of the shares
    (1: all keep the same, 1/n: one takes all; Jain, Chiu and Hawe, 1984)."""

    tenants: list[TenantResult]
    aggregate: float
    efficiency: float
    fairness: float
    rounds: int
    trusted: bool
    reasons: list[str]
    conditions: Conditions
    notes: list[str] = field(default_factory=list)


def run_together(
    tenants: Sequence[Tenant], *, seconds: float = 2.0, rounds: int = 3, say: Callable[[str], None] = lambda _: None
) -> Together:
    """Measure every tenant alone and all of them together, ``rounds`` times ``seconds`` each.

    Raises ``EngineError`` naming the tenant whose process could not open its engine, died or did not answer.
    """
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="together-")))
        workers = [stack.enter_context(_Worker(tenant, scratch / str(k))) for k, tenant in enumerate(tenants)]
        for worker in workers:
            worker.wait_ready()
        alone: list[list[Window]] = [[] for _ in workers]
        together: list[list[Window]] = [[] for _ in workers]
        for number in range(rounds):
            say(f"round {number + 1} of {rounds}")
            for index, worker in enumerate(workers):
                alone[index] += _run([worker], seconds)
            for index, window in enumerate(_run(workers, seconds)):
                together[index].append(window)
    results = [_result(t, a, b) for t, a, b in zip(tenants, alone, together, strict=True)]
    return _summary(results, rounds, _shared_cores(tenants))


def _run(workers: Sequence[_Worker], seconds: float) -> list[Window]:
    start = time.monotonic() + LEAD_SECONDS
    for worker in workers:
        worker.command(start, seconds)
    return [Window(**worker.answer(seconds + 60.0)) for worker in workers]


def _result(tenant: Tenant, alone: Sequence[Window], together: Sequence[Window]) -> TenantResult:
    rates = [window.samples_per_s for window in alone]
    company = [window.samples_per_s for window in together]
    return TenantResult(
        name=tenant.name,
        place=tenant.placement.title,
        batch=tenant.batch,
        alone=statistics.median(rates),
        together=statistics.median(company),
        share=statistics.median(company) / statistics.median(rates),
        alone_p99_ms=statistics.median(window.p99_ms for window in alone),
        together_p99_ms=statistics.median(window.p99_ms for window in together),
        variation=max(variation(rates), variation(company)),
    )


def _summary(results: list[TenantResult], rounds: int, notes: list[str]) -> Together:
    shares = np.asarray([result.share for result in results])
    conditions = read_conditions()
    reasons = [
        f"{result.name}: rounds vary by {result.variation:.0%}, over the gate of {LARGEST_VARIATION:.0%}"
        for result in results
        if result.variation > LARGEST_VARIATION
    ]
    return Together(
        tenants=results,
        aggregate=sum(result.together for result in results),
        efficiency=float(shares.mean()),
        fairness=float(shares.sum() ** 2 / (len(shares) * (shares**2).sum())),
        rounds=rounds,
        trusted=not reasons,
        reasons=reasons,
        conditions=conditions,
        notes=notes,
    )


def _shared_cores(tenants: Sequence[Tenant]) -> list[str]:
    used = [core for tenant in tenants for core in tenant.placement.cores]
    if len(used) == len(set(used)):
        return []
    return [f"{len(tenants)} engines on {len(set(used))} cores: some share one, so a share of 100 % is out of reach"]


class _Worker(Child):
    """The parent's end of one worker process; leaving it ends the process."""

    def __init__(self, tenant: Tenant, folder: Path) -> None:
        self._tenant = tenant
        folder.mkdir()
        inputs, job = folder / "inputs.npz", folder / "job.json"
        np.savez(inputs, allow_pickle=False, **dict(tenant.feed))
        placement = tenant.placement
        write_json(job, WorkerJob(str(tenant.folder), str(inputs), tenant.batch, placement.cores))
        self._errors = folder / "stderr"
        with self._errors.open("w") as errors:
            super().__init__(
                "benchmarks.together.worker",
                str(job),
                environment=_environment(placement),
                stdin=subprocess.PIPE,
                stderr=errors,
            )

    def wait_ready(self) -> None:
        self.answer(READY_SECONDS)

    def command(self, start: float, seconds: float) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps({"start": start, "seconds": seconds}).encode() + b"\n")
            self.process.stdin.flush()
        except OSError:
            raise self._dead() from None

    def answer(self, patience: float) -> dict[str, Any]:
        """The next line of the worker; its process is killed when none comes within ``patience`` seconds."""
        assert self.process.stdout is not None
        timer = threading.Timer(patience, self.process.kill)
        timer.start()
        try:
            line = self.process.stdout.readline()
        finally:
            timer.cancel()
        if not line:
            raise self._dead()
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _dead(self) -> EngineError:
        last = last_line(self._errors.read_text(errors="replace")) or "it did not answer, or was killed"
        return EngineError(f"its process ended: {last}", where=f"{self._tenant.name} ({self._tenant.folder})")


def _environment(placement: Placement) -> dict[str, str]:
    own: dict[str, str] = {}
    if placement.device:
        own["CUDA_VISIBLE_DEVICES"] = placement.device
    if placement.cores:
        own["OMP_NUM_THREADS"] = str(len(placement.cores))
    return own
