"""The whole command for each network, precision and GPU: build seconds, plan bytes, kernels, seconds when repeated."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.report.model import read_report
from engines.build import BuildRequest, build_engine
from engines.cache.plans import EngineCache
from engines.layers import LayerCounts, count_layers
from engines.manifest import EngineManifest
from engines.targets.target import TARGETS
from studies.builds.networks import NETWORKS, Network

GPUS = ("t4", "a100", "l4", "blackwell")
SAMPLES = 4  # to calibrate with, and as many held back: builds do not depend on accuracy
DONE = (0, 3, 4)  # within budget, over it, some targets only: each leaves a bundle


@dataclass(frozen=True)
class PlanRow:
    """One plan. ``again_s`` is a build of the same engine with the cache warm, wall seconds; None where none was made,
    and ``reason`` says why."""

    network: str
    precision: str
    target: str
    sm: str
    build_s: float | None = None
    bytes: int | None = None
    layers: LayerCounts | None = None
    again_s: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class RunRow:
    """One run of the command for all GPUs: wall seconds the first time, and of the same command again."""

    network: str
    precision: str
    first_s: float
    again_s: float
    code: int


def run_network(network: Network, precision: str, folder: Path) -> tuple[RunRow, list[PlanRow]]:
    """Make the network in ``folder``, run the command twice, and read what it left.

    Raises ``RuntimeError`` with the command's last words where it left no bundle.
    """
    model, data = folder / f"{network.name}.onnx", folder / f"{network.name}.npz"
    if not model.is_file():
        network.save(model, 0)
        np.savez(data, allow_pickle=False, **network.samples(2 * SAMPLES, 1))
    bundle = folder / f"{network.name}.{precision}"
    command = _command(model, data, precision, network.shapes, bundle)
    environment = {**os.environ, "ENGINEWRIGHT_CACHE": str(folder / "cache")}
    code, first = _timed(command, environment)
    _, again = _timed(command, environment)
    run = RunRow(network.name, precision, round(first, 1), round(again, 2), code)
    return run, [_row(network.name, precision, target, bundle, folder) for target in GPUS]


def _command(model: Path, data: Path, precision: str, shapes: Sequence[str], bundle: Path) -> list[str]:
    options = ["--precision", precision, "--target", ",".join(GPUS), "--data", str(data), "--samples", str(SAMPLES)]
    options += ["--loadgen", "none", "--jobs", "1", "--quiet", "-o", str(bundle)]
    options += [word for shape in shapes for word in ("--shape", shape)]
    return [sys.executable, "-m", "optimizer.cli.main", str(model), *options]


def _timed(command: Sequence[str], environment: dict[str, str]) -> tuple[int, float]:
    started = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode not in DONE:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return done.returncode, time.perf_counter() - started


def _row(network: str, precision: str, target: str, bundle: Path, folder: Path) -> PlanRow:
    directory = bundle / "engines" / target
    sm = TARGETS[target].sm
    if not (directory / "engine.json").is_file():
        reason = read_report(bundle / "report.json").targets[target].reason
        return PlanRow(network, precision, target, sm, reason=reason)
    manifest = EngineManifest.load(directory)
    return PlanRow(
        network,
        precision,
        target,
        sm,
        manifest.build_seconds,
        manifest.bytes,
        count_layers(manifest.layers),
        _build_again(manifest, bundle, folder),
    )


def _build_again(manifest: EngineManifest, bundle: Path, folder: Path) -> float:
    """Wall seconds of the same build through the cache, from the model's digest to the finished directory."""
    request = BuildRequest(
        model=bundle / "model.onnx",
        target=TARGETS[manifest.target],
        profile=manifest.profile,
        out=folder / "again" / manifest.target,
        precision=manifest.precision,
        sparse_weights=manifest.sparse_weights,
        options=manifest.options,
        more_profiles=manifest.more_profiles,
    )
    started = time.perf_counter()
    build_engine(request, cache=EngineCache(folder / "cache"))
    return round(time.perf_counter() - started, 2)


def run_matrix(names: Sequence[str], precisions: Sequence[str], folder: Path) -> tuple[list[RunRow], list[PlanRow]]:
    """Every network in every precision, one after the other."""
    runs: list[RunRow] = []
    plans: list[PlanRow] = []
    for name in names:
        for precision in precisions:
            run, rows = run_network(NETWORKS[name], precision, folder)
            runs.append(run)
            plans += rows
    return runs, plans
