"""What `optimize update` takes beside a fresh run of the same settings on the same new weights, and what each reaches.

    python -m studies.update_time [--noise 0.02] [--repeats 3] [--loadgen singlestream,offline]

The model is the demo's Fashion-MNIST ResNet with ``optimize demo``'s settings; the new weights are its own with normal
noise of ``--noise`` times each tensor's spread, which stands in for more training. In turns, ``--repeats`` times, each
with other noise: the main job, with nothing kept from other runs, and the update of the demo's bundle; each a process
of its own, with its start. ``--loadgen`` is what the fresh run measures; the update measures none unless ``--both``.
Processor time is that of the process and all its children.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from engines.parallel import available_cores
from optimizer.demo import fashion
from studies.builds.matrix import DONE

_FUNCTIONS = f"{fashion.__name__}:"
TARGETS = "cpu,t4,a100"


@dataclass(frozen=True)
class Run:
    """``wall`` and ``processor`` in seconds; the report."""

    wall: float
    processor: float
    report: dict[str, Any]

    def row(self) -> str:
        accuracy, stages = self.report["accuracy"], self.report["timings"]
        task, output = accuracy["task"], accuracy["outputs"]["logits"]
        cpu = self.report["targets"]["cpu"]["accuracy"]["logits"]["sqnr_db"]
        most = ", ".join(f"{name} {stages[name]:.1f}" for name in sorted(stages, key=lambda n: -stages[n])[:4])
        return (
            f"wall {self.wall:5.1f} s, processor {self.processor:5.1f} s; top-1 {task['fp32']:.4f} -> "
            f"{task['optimized']:.4f}; {output['sqnr_db']:.1f} dB, cpu {cpu:.1f} dB ({most})"
        )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--noise", type=float, default=0.02, help="of each weight, as a part of its tensor's spread")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--loadgen", default="singlestream,offline", help="what the fresh run measures")
    parser.add_argument("--both", action="store_true", help="the update measures that with LoadGen, too")
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="update-time-") as name:
        folder = Path(name)
        first = run(folder, folder / "cache", *_fresh(fashion.MODEL, folder / "first", asked.loadgen))
        print(f"{available_cores()} cores; the bundle before: {first.row()}", flush=True)
        pairs = [_pair(folder, number, asked) for number in range(asked.repeats)]
    for kind in ("wall", "processor"):
        ratios = [getattr(update, kind) / getattr(fresh, kind) for fresh, update in pairs]
        spread = f"{min(ratios):.0%} to {max(ratios):.0%}"
        print(f"update takes {statistics.median(ratios):.0%} of the {kind} time of a fresh run ({spread})")


def _pair(folder: Path, number: int, asked: argparse.Namespace) -> tuple[Run, Run]:
    model = folder / f"new{number}.onnx"
    onnx.save(retrained(asked.noise, number), model)
    fresh = run(folder, folder / f"cache{number}", *_fresh(model, folder / f"fresh{number}", asked.loadgen))
    print(f"fresh   {fresh.row()}", flush=True)
    words = ["update", str(folder / "first"), str(model), "-o", str(folder / f"updated{number}")]
    update = run(folder, folder / "cache", *words, "--loadgen", asked.loadgen if asked.both else "none")
    kept = {form: check["kept"] for form, check in update.report["update"]["calibration"].items()}
    print(f"update  {update.row()}; calibration kept: {kept}", flush=True)
    return fresh, update


def _fresh(model: Path, out: Path, loadgen: str) -> list[str]:
    words = [str(model), "--target", TARGETS, "--data", f"{_FUNCTIONS}calibration", "--eval-data"]
    words += [f"{_FUNCTIONS}held_back", "--evaluate", f"{_FUNCTIONS}top1", "--samples", "256"]
    return [*words, "--loadgen", loadgen, "-o", str(out)]


def run(folder: Path, cache: Path, *words: str) -> Run:
    """The command in a process of its own, with its own cache. Where it leaves no bundle the study ends as it did."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [sys.executable, "-m", "optimizer.cli.main", *words, "--json", "--quiet"]
    environment = {**os.environ, "ENGINEWRIGHT_CACHE": str(cache)}
    done = subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE, check=False)
    if done.returncode not in DONE:
        raise SystemExit(done.returncode)  # it has said why
    wall, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(wall, spent, json.loads(done.stdout))


def retrained(noise: float, seed: int) -> onnx.ModelProto:
    """The demo's model with noise in every weight that has more than one element."""
    model, rng = onnx.load(fashion.MODEL), np.random.default_rng(seed)
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.float32 and values.size > 1:
            moved = values + noise * values.std() * rng.standard_normal(values.shape)
            tensor.CopyFrom(numpy_helper.from_array(moved.astype(np.float32), tensor.name))
    return model


if __name__ == "__main__":
    main()
