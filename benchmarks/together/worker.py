"""One engine in one process: ``python -m benchmarks.together.worker JOB.json``.

The parent writes commands to standard input and reads one JSON document per line from standard output: first that the
engine is warm, then, for each ``{"start": …, "seconds": …}``, what ran in that window. ``start`` is a moment of the
system's monotonic clock, which all processes of a machine share, so that windows coincide.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.batching import repeat_to_batch, sample_count
from benchmarks.timing.steady import warm_up
from engines.engine import Engine, Feed
from engines.open import open_engine
from graphs.files import read_json


@dataclass(frozen=True)
class WorkerJob:
    """``engine`` is an engine folder, ``inputs`` an ``.npz`` with one feed; ``cores`` to be pinned to (empty: any)."""

    engine: str
    inputs: str
    batch: int
    cores: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Window:
    """What one process did in a window: samples whose inference ended in it, and run times in milliseconds."""

    samples: int
    seconds: float
    p50_ms: float
    p99_ms: float
    runs: int

    @property
    def samples_per_s(self) -> float:
        return self.samples / self.seconds if self.seconds else 0.0


def _serve(job: WorkerJob) -> None:
    if job.cores:
        os.sched_setaffinity(0, job.cores)  # before the engine starts its threads, which inherit it
    with open_engine(Path(job.engine), threads=len(job.cores) or None) as engine:
        with np.load(job.inputs, allow_pickle=False) as archive:
            feed: Feed = {spec.name: archive[spec.name] for spec in engine.inputs}
        many = repeat_to_batch(engine.inputs, feed, job.batch) or feed
        runs = warm_up(engine, many)
        _say({"ready": True, "warmup_runs": runs, "batch": sample_count(engine.inputs, many)})
        for line in sys.stdin:
            command = json.loads(line)
            _say(_run(engine, many, command["start"], command["seconds"]).__dict__)


def _run(engine: Engine, feed: Feed, start: float, seconds: float) -> Window:
    time.sleep(max(0.0, start - time.monotonic()))
    times, begun = [], time.monotonic()
    end = start + seconds
    while (before := time.monotonic()) < end:
        engine.infer(feed)
        times.append(time.monotonic() - before)
    elapsed = time.monotonic() - begun
    milliseconds = np.asarray(times) * 1e3
    p50, p99 = (float(value) for value in np.percentile(milliseconds, (50, 99))) if times else (0.0, 0.0)
    return Window(len(times) * sample_count(engine.inputs, feed), elapsed, p50, p99, len(times))


def _say(document: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


def main(arguments: Sequence[str]) -> None:
    _serve(read_json(Path(arguments[0]), WorkerJob))


if __name__ == "__main__":
    main(sys.argv[1:])
