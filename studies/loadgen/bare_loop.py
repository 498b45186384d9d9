"""A bare loop over an engine, which LoadGen is compared with: ``overhead`` runs it as a child process."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from benchmarks.samples.library import SampleLibrary
from engines.source import open_source

WARM_UP = 3  # runs before any is timed


def loop_rate(source: str, paths: Sequence[str], batch: int, seconds: float) -> float:
    """Samples per second of nothing but joining a batch and running it."""
    with open_source(source) as engine:
        library = SampleLibrary.from_files(paths, engine.inputs)
        library.load(range(len(library)))
        batches = [[(start + k) % len(library) for k in range(batch)] for start in range(0, len(library), batch)]
        for number in range(WARM_UP):
            engine.infer(library.feed(batches[number % len(batches)]))
        done, start, end = 0, time.perf_counter(), time.perf_counter() + seconds
        while time.perf_counter() < end:
            engine.infer(library.feed(batches[done % len(batches)]))
            done += 1
        return done * batch / (time.perf_counter() - start)


if __name__ == "__main__":
    source, batch, seconds, *paths = sys.argv[1:]
    sys.stdout.write(f"{loop_rate(source, paths, int(batch), float(seconds))}\n")
