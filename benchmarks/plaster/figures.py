"""The seven PLASTER figures, each a number with its unit and how it came about.

PLASTER (NVIDIA, 2018) names what decides over a deployment: Programmability, Latency, Accuracy, Size of model,
Throughput, Energy efficiency, Rate of learning. None of the figures is an estimate: what was not measured is None, and
``how`` says why and what would measure it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.accuracy.task_metric import TaskAccuracy
from benchmarks.energy.measure import Energy
from benchmarks.measurement import Latency
from benchmarks.memory import EngineMemory
from benchmarks.report import formats
from benchmarks.report.model import LoadgenSummary, OutputFidelity, PlasterFigure


@dataclass(frozen=True)
class NativeOps:
    """Of ``nodes`` in the graph, ``native`` run in the engine in the precision that was asked of them.

    ``note`` says what became of the others (a refused target, layers that fell back).
    """

    nodes: int
    native: int
    note: str = ""


@dataclass(frozen=True)
class Learning:
    """Seconds from new weights to an engine that has given its first answer.

    ``cold`` with nothing cached; ``cached`` when these weights were seen before; ``refit`` by exchanging the weights of
    the engine in place. None: not measured, and the matching ``*_why`` says why. ``first`` is the name of the first
    where it is another: an update takes over what calibration decided.
    """

    cold: float | None
    cached: float | None = None
    refit: float | None = None
    cold_why: str = ""
    first: str = "cold"
    cached_why: str = "`optimize plaster` measures it"
    refit_why: str = "the main job builds engines again; engines.refit takes new weights on a GPU"


def programmability(targets: Mapping[str, NativeOps], flags: Sequence[str]) -> PlasterFigure:
    """Share of the graph's nodes, over all asked targets, that run natively; and the options the graph needed."""
    nodes = sum(ops.nodes for ops in targets.values())
    native = sum(ops.native for ops in targets.values())
    each = "; ".join(
        f"{name} {ops.native} of {ops.nodes}{f' ({ops.note})' if ops.note else ''}" for name, ops in targets.items()
    )
    needed = f"options needed: {' '.join(flags)}" if flags else "no options needed"
    return PlasterFigure(
        native / nodes if nodes else None,
        "of ops run natively",
        f"{each}; no plug-ins; {needed}",
        {f"{name}_share": ops.native / ops.nodes if ops.nodes else None for name, ops in targets.items()},
    )


def latency(run: LoadgenSummary | None, timed: Latency | None, bound_ms: float | None = None) -> PlasterFigure:
    """LoadGen SingleStream's p90, else that of a timed loop; with the percentiles and whether the bound is met."""
    if run is not None and run.valid:
        value, how = run.value, "p90 of LoadGen SingleStream"
        shown: dict[str, float | None] = {"p50_ms": run.p50, "p90_ms": run.p90, "p99_ms": run.p99}
    elif timed is not None:
        value, how = timed.p90, "p90 of a timed loop, one request at a time"
        how += "; LoadGen's run was invalid" if run is not None else ""
        shown = {"p50_ms": timed.p50, "p90_ms": timed.p90, "p99_ms": timed.p99}
    else:
        missing = "LoadGen's run was invalid" if run else "not measured: run LoadGen with --loadgen singlestream"
        return PlasterFigure(None, "ms", missing)
    how += f"; p50 {formats.milliseconds(shown['p50_ms'])}, p99 {formats.milliseconds(shown['p99_ms'])}"
    if bound_ms is not None:
        p99 = shown["p99_ms"]
        met = p99 is not None and p99 <= bound_ms
        how += f"; p99 {'is within' if met else 'misses'} the bound of {bound_ms:g} ms"
        shown |= {"bound_ms": bound_ms, "bound_met": float(met)}
    return PlasterFigure(value, "ms", how, shown)


def accuracy(
    outputs: Mapping[str, OutputFidelity] | None, task: TaskAccuracy | None, samples: int, how: str
) -> PlasterFigure:
    """The task metric with the interval of its drop; the worst output's cosine where there is no metric."""
    if task is not None:
        interval = task.ci95
        between = f" (95 % interval {interval[0]:.2g} to {interval[1]:.2g})" if interval else ""
        text = f"{how}; drop {task.drop:.3g}{between} from {formats.significant(task.fp32, 4)} in FP32"
        some = f"{task.sampled.samples:,} of " if task.sampled is not None else ""
        text += f", {some}{task.samples:,} samples" if task.samples else ""
        details: dict[str, float | None] = {
            "fp32": task.fp32,
            "drop": task.drop,
            "drop_ci95_low": interval[0] if interval else None,
            "drop_ci95_high": interval[1] if interval else None,
        }
        return PlasterFigure(task.optimized, task.metric, text, details)
    if not outputs:
        return PlasterFigure(None, "cosine to FP32", "not measured")
    name, worst = min(outputs.items(), key=lambda item: item[1].cosine if item[1].cosine is not None else 2.0)
    text = f"{how}; worst output {name}, {samples:,} samples; no --evaluate was given, so no task metric"
    return PlasterFigure(worst.cosine, "cosine to FP32", text, {"sqnr_db": worst.sqnr_db, "agreement": worst.agreement})


def size(file_bytes: int, engine_bytes: int | None, memory: EngineMemory | None, why: str = "") -> PlasterFigure:
    """The engine file; beside it the model as given and the memory one engine needs."""
    parts = [f"the model as given is {formats.size(file_bytes)}"]
    if memory is not None:
        parts.append(f"one engine takes {formats.size(memory.host_bytes)} of host memory")
        if memory.device_bytes is not None:
            parts.append(f"{formats.size(memory.device_bytes)} on the GPU")
    else:
        parts.append(f"memory not measured{f': {why}' if why else ''}")
    return PlasterFigure(
        None if engine_bytes is None else engine_bytes / 1e6,
        "MB",
        f"engine file; {'; '.join(parts)}",
        {
            "file_bytes": float(file_bytes),
            "engine_bytes": None if engine_bytes is None else float(engine_bytes),
            "memory_bytes": None if memory is None else float(memory.host_bytes),
            "device_bytes": None if memory is None or memory.device_bytes is None else float(memory.device_bytes),
        },
    )


def throughput(run: LoadgenSummary | None, timed: float | None, batch: int | None) -> PlasterFigure:
    """LoadGen Offline's samples per second, else a timed loop's."""
    loop = {"timed_loop_samples_per_s": timed, "batch": None if batch is None else float(batch)}
    if run is not None and run.valid:
        of = f", batches of {run.batch}" if run.batch else ""
        return PlasterFigure(run.value, "samples/s", f"LoadGen Offline{of}", loop)
    if timed is not None:
        invalid = "; LoadGen's run was invalid" if run is not None else ""
        return PlasterFigure(timed, "samples/s", f"timed loop, batches of {batch}{invalid}", loop)
    missing = "LoadGen's run was invalid" if run else "not measured: run LoadGen with --loadgen offline"
    return PlasterFigure(None, "samples/s", missing)


def energy(found: Energy | None) -> PlasterFigure:
    """Inferences per joule."""
    if found is None:
        return PlasterFigure(None, "inferences/J", "not measured in this run")
    details = {"watts": found.watts}
    return PlasterFigure(found.inferences_per_joule, "inferences/J", found.how, details)


def rate_of_learning(found: Learning) -> PlasterFigure:
    """Seconds from new weights to a serving engine, cold; cached and refitted beside it."""
    parts = [_moment(found.first, found.cold, found.cold_why), _moment("cached", found.cached, found.cached_why)]
    parts.append(_moment("refit", found.refit, found.refit_why))
    return PlasterFigure(
        None if found.cold is None else round(found.cold, 2),
        "s",
        f"from new weights to the first answer: {'; '.join(parts)}",
        {"cold_s": found.cold, "cached_s": found.cached, "refit_s": found.refit},
    )


def _moment(name: str, seconds: float | None, why: str) -> str:
    if seconds is None:
        return f"{name} not measured{f': {why}' if why else ''}"
    return f"{name} {formats.seconds(seconds)}{f' ({why})' if why else ''}"
