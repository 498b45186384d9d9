"""``python -m studies.sparsity.cost [--samples 128]``: what pruning a ResNet-50 takes, in seconds and memory.

The network is ``studies.builds.networks``', with random weights and inputs: time and memory do not depend on them.
Magnitude alone, the order of channels, and the layers solved for, each with wall time, processor time and the process's
peak memory so far.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from engines.engine import Feed
from engines.parallel import available_cores
from graphs.reading.macs import count_macs, total_macs
from graphs.storage.saving import save_model
from optimizer.importing import import_model
from optimizer.passes.clean import clean
from optimizer.sparsity.magnitude import PruneTwoFour
from optimizer.sparsity.sparsify import How, sparsify
from studies.builds.networks import save_resnet50


def main() -> int:
    """Print a line per step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=128)
    options = parser.parse_args()
    if options.samples < 1:
        parser.error("--samples: 1 or more")
    print(f"ResNet-50, {options.samples} samples of 3x224x224, {available_cores()} cores")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "resnet50.onnx"
        save_resnet50(path)
        model = import_model(path).model
        clean(model)
        rng = np.random.default_rng(0)
        feeds: list[Feed] = [
            {"input": rng.standard_normal((1, 3, 224, 224)).astype(np.float32)} for _ in range(options.samples)
        ]
        how = How(total_macs(count_macs(model, {"input": (1, 3, 224, 224)})), on_layer=_dot)
        with _timed("by magnitude, written to a file"):
            pruned = model.clone()
            PruneTwoFour().apply(pruned)
            save_model(pruned, Path(folder) / "magnitude.onnx")
        with _timed("channels reordered, by magnitude"):
            sparsify(model, feeds, replace(how, solve=False))
        with _timed("channels reordered, layers solved for"):
            made = sparsify(model, feeds, how)
            save_model(made.model, Path(folder) / "solved.onnx")
    for note in made.notes:
        if "magnitude" in note:
            print(f"- {note}")
    return 0


def _dot(done: int, total: int) -> None:
    print(f"\r{done}/{total}", end="", file=sys.stderr)


@contextmanager
def _timed(what: str) -> Iterator[None]:
    wall, processor = time.perf_counter(), time.process_time()
    yield
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{what}: {time.perf_counter() - wall:.0f} s, {time.process_time() - processor:.0f} s of processor time, "
        f"peak memory {peak:,.0f} MiB",
        flush=True,
    )


if __name__ == "__main__":
    raise SystemExit(main())
