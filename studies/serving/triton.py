"""Is a repository that `optimize deploy` writes as fast as one by hand? ``python -m studies.serving.triton BUNDLE``.

Both serve the CPU engine of BUNDLE (one input, one output) with Triton's Python backend on one tritonserver on this
machine; 16 clients in one process ask one, then the other, in turns, for single samples. Beside them the engine itself,
asked one sample at a time in this process, and joined as Triton joins them.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.serving.closed_loop import closed_loop
from deployment.triton.repository.options import PYTHON, TritonOptions
from deployment.triton.repository.pbtxt import to_pbtxt
from deployment.triton.repository.write import write_triton_repository
from deployment.triton.server.files import find_server
from deployment.triton.server.local_server import local_server
from engines.engine import Array
from engines.kserve import KserveEngine
from engines.open import open_engine
from graphs.files import to_json

OURS, BARE = "ours", "bare"


def write_repository(bundle: Path, repository: Path) -> None:
    """Both models, with the same configuration."""
    [model] = write_triton_repository(
        bundle, repository, name=OURS, targets=["cpu"], options=TritonOptions(backend=PYTHON)
    )
    version = repository / BARE / "1"
    version.mkdir(parents=True)
    shutil.copyfile(Path(__file__).parent / "bare_model.py", version / "model.py")
    for file, source in model.engine.files.items():
        shutil.copyfile(source, version / file)
    (repository / BARE / "config.pbtxt").write_text(to_pbtxt(replace(model.config, name=BARE).message()))


def measure(bundle: Path, clients: int, seconds: float, rounds: int, protocol: str) -> dict[str, object]:
    """Requests per second of each by round and their medians; p99 in milliseconds."""
    with open_engine(bundle / "engines" / "cpu") as engine:
        spec = engine.inputs[0]
        shape = [size if isinstance(size, int) else 1 for size in spec.shape]
        sample: Array = np.random.default_rng(0).standard_normal(shape).astype(spec.dtype)
        feed = {spec.name: sample}
        direct = closed_loop(lambda: open_engine(bundle / "engines" / "cpu"), [feed], clients=1, seconds=seconds)
    rates: dict[str, list[float]] = {OURS: [], BARE: []}
    tails: dict[str, list[float]] = {OURS: [], BARE: []}
    failed = 0
    with tempfile.TemporaryDirectory(prefix="triton-study-") as scratch:
        repository = Path(scratch) / "repository"
        write_repository(bundle, repository)
        with local_server(find_server(), repository) as control:
            address = control.grpc if protocol == "grpc" else control.http
            for model in rates:
                control.check_loaded(model)
            for number in range(rounds):
                for model in (OURS, BARE) if number % 2 else (BARE, OURS):
                    source = f"{protocol}://{address}/{model}"
                    load = closed_loop(partial(KserveEngine.open, source), [feed], clients=clients, seconds=seconds)
                    rates[model].append(load.rate)
                    tails[model].append(load.latency_ms.p99 if load.latency_ms else float("nan"))
                    failed += load.failed
            batches = control.executions(OURS)
            server = control.version()
    pairs = [ours / bare for ours, bare in zip(rates[OURS], rates[BARE], strict=True)]
    return {
        "server": server,
        "protocol": protocol,
        "clients": clients,
        "ours_per_s": median(rates[OURS]),
        "bare_per_s": median(rates[BARE]),
        "ours_to_bare": median(pairs),
        "ours_to_bare_by_round": pairs,
        "ours_p99_ms": median(tails[OURS]),
        "bare_p99_ms": median(tails[BARE]),
        "engine_alone_per_s": direct.rate,
        "ours_to_engine": median(rates[OURS]) / direct.rate,
        "failed": failed,
        "executions_by_batch": {str(size): count for size, count in sorted(batches.items())},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--protocol", choices=("grpc", "http"), default="grpc")
    given = parser.parse_args()
    found = measure(given.bundle, given.clients, given.seconds, given.rounds, given.protocol)
    print(to_json(found).decode())


if __name__ == "__main__":
    main()
