"""What LoadGen costs beside a bare loop over the same engine and batch: ``python -m studies.loadgen.overhead SOURCE``.

SOURCE is a bundle's engine folder or an ``.onnx`` file. Rounds alternate between LoadGen's Offline scenario and the
loop, so that a machine that slows down slows both; the medians are compared. Both join the samples of a batch from the
same store, each in a process and session of its own, for Linux shares a busy processor by session. On a busy machine
the ratio means little; ``engine_share``, the part of LoadGen's own run spent inside the engine, then still bounds what
the harness costs. Prints one JSON document with ``--json``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.loadgen.run import run_loadgen
from benchmarks.loadgen.settings import LoadgenRequest, LoadgenSettings, Scenario
from benchmarks.samples.library import save_samples
from engines.engine import Array, Engine, TensorSpec
from engines.errors import EngineError
from engines.processes.child_process import run_child
from engines.source import open_source

SAMPLES = 64  # in the library


@dataclass(frozen=True)
class Overhead:
    """Samples per second of each round, and the ratio of their medians (1 means that LoadGen costs nothing).

    ``engine_share``: seconds inside the engine over seconds of the run, per round.
    """

    batch: int
    loadgen: list[float]
    loop: list[float]
    engine_share: list[float]

    @property
    def ratio(self) -> float:
        return statistics.median(self.loadgen) / statistics.median(self.loop)


def measure_overhead(source: str, batch: int, seconds: float, rounds: int) -> Overhead:
    """Alternate ``rounds`` times."""
    loadgen: list[float] = []
    loop: list[float] = []
    shares: list[float] = []
    with tempfile.TemporaryDirectory(prefix="overhead-") as scratch:
        with open_source(source) as engine:
            paths = _samples(engine, Path(scratch) / "samples")
        settings = LoadgenSettings(Scenario.OFFLINE, duration_s=seconds, batch=batch)
        for _ in range(rounds):
            result = run_loadgen(LoadgenRequest(source, paths, settings, str(Path(scratch) / "log")))
            loadgen.append(result.value or 0.0)
            shares.append(round(result.engine_s / max(result.duration_s, 1e-9), 4))
            loop.append(_loop_apart(source, paths, batch, seconds))
    return Overhead(batch, loadgen, loop, shares)


def _samples(engine: Engine, folder: Path) -> tuple[str, ...]:
    rng = np.random.default_rng(0)
    return save_samples(
        ({s.name: _random(s, rng) for s in engine.inputs} for _ in range(SAMPLES)), engine.inputs, folder
    )


def _random(spec: TensorSpec, rng: np.random.Generator) -> Array:
    shape = [size if isinstance(size, int) else 1 for size in spec.shape]
    if spec.dtype.startswith("float"):
        return rng.standard_normal(shape).astype(spec.dtype)
    return np.ones(shape, spec.dtype)


def _loop_apart(source: str, paths: Sequence[str], batch: int, seconds: float) -> float:
    """``loop_rate`` in a process of its own, as LoadGen runs."""
    done = run_child("studies.loadgen.bare_loop", source, str(batch), str(seconds), *paths)
    if done.code != 0:
        raise EngineError(f"the bare loop failed: {done.last_words}", where=source)
    return float(done.output)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split(":")[0])
    parser.add_argument("source", help="a bundle's engine folder or an .onnx file")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=3.0, help="per round and side (default 3)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")
    options = parser.parse_args(arguments)
    found = measure_overhead(options.source, options.batch, options.seconds, options.rounds)
    if options.json:
        sys.stdout.write(json.dumps({**asdict(found), "ratio": round(found.ratio, 4)}) + "\n")
    else:
        sys.stdout.write(f"LoadGen {statistics.median(found.loadgen):,.1f} samples/s, loop ")
        sys.stdout.write(f"{statistics.median(found.loop):,.1f}: {100 * found.ratio:.1f} % at batch {found.batch}; ")
        sys.stdout.write(f"{100 * statistics.median(found.engine_share):.1f} % of LoadGen's time inside the engine\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
