"""The statistics pass: every sample runs once through the float model; what was asked about its activations is kept.

Samples run one at a time, several in parallel, never joined into batches: what the runtime computes for a sample, and
so every statistic, is the same however the caller cut the data, and shapes may differ from sample to sample.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from pathlib import Path

import onnx_ir as ir

from calibration.plan import GROUP, CollectionPlan, plan_collection
from calibration.statistics import (
    NOTHING_SEEN,
    JoinedNeeds,
    StatisticNeeds,
    Statistics,
    TensorStatistics,
    join_needs,
)
from calibration.summary import NonFinite, Observation, summarize
from calibration.taps import Tap, add_taps
from engines.engine import Array, Feed
from engines.onnxruntime.engine import OnnxRuntimeEngine
from engines.onnxruntime.graph import running
from engines.parallel import available_cores
from graphs.errors import BadInput

Tensors = dict[str, TensorStatistics]
OnSeen = Callable[[str, int, Observation], None]
"""Hears of a tensor, of which sample, and what was seen of it."""


def collect(
    model: ir.Model | Path,
    needs: Sequence[StatisticNeeds | str],
    samples: Iterable[Feed],
    *,
    batchable: bool,
    threads: int | None = None,
    on_plan: Callable[[CollectionPlan], None] | None = None,
    on_progress: Callable[[int], None] | None = None,
    on_seen: OnSeen | None = None,
) -> Statistics:
    """Observe activations of ``model`` over ``samples`` in one streaming pass.

    ``needs`` name tensors of the main graph; a bare name asks for extremes and a histogram. ``batchable`` says that
    axis 0 of every input counts independent samples: a feed with more than one is taken apart. ``threads`` is the
    cores to use, all by default. ``on_plan`` hears the plan with its memory bound before the first sample runs,
    ``on_progress`` the number of samples done, ``on_seen`` (in several threads) each activation of each sample that
    held values. Raises ``BadInput`` naming a tensor that cannot be observed, or the
    tensor and sample (counted from 0) with the first value that is not finite.
    """
    rows = rows_of(samples, batchable)
    first = next(rows, None)
    if first is None:
        raise BadInput("no samples to calibrate with", fix="check --data and --samples")
    source = ir.load(model) if isinstance(model, Path) else model
    ordered = _in_graph_order(source, join_needs(needs))
    plan = plan_collection(source, ordered, first, threads or available_cores())
    if on_plan is not None:
        on_plan(plan)
    tapped = source.clone()
    taps = add_taps(tapped, ordered, plan.reduced)
    with running(tapped, threads=plan.threads_each, memory_pattern=False) as engine:
        return _accumulate(engine, taps, chain([first], rows), plan.workers, on_progress, on_seen)


def rows_of(samples: Iterable[Feed], batchable: bool) -> Iterator[Feed]:
    """One feed per sample: a batchable feed whose inputs have several rows is taken apart."""
    for feed in samples:
        rows = min((len(array) for array in feed.values() if array.ndim), default=1) if batchable else 1
        if rows <= 1:
            yield feed
            continue
        for row in range(rows):
            yield {name: array[row : row + 1] for name, array in feed.items()}


def _in_graph_order(model: ir.Model, needs: list[JoinedNeeds]) -> list[JoinedNeeds]:
    """``needs`` by where their tensor is made, so that the first bad activation is the one that is named."""
    constants = set(model.graph.initializers)
    made = (value for node in model.graph for value in node.outputs)
    names = (str(value.name) for value in (*model.graph.inputs, *made) if value.name)
    order = {name: position for position, name in enumerate(names) if name not in constants}
    for need in needs:
        if need.tensor not in order:
            raise BadInput(_why_unseen(model, need.tensor, constants), where=f"tensor {need.tensor!r}")
    return sorted(needs, key=lambda need: order[need.tensor])


def _why_unseen(model: ir.Model, tensor: str, constants: set[str]) -> str:
    if tensor in constants:
        return "is a constant, there is nothing to observe"
    for node in model.graph.all_nodes():
        if node.graph is not model.graph and any(value.name == tensor for value in node.outputs):
            return f"is made by {node.op_type} {node.name!r} in a subgraph; only the main graph can be observed"
    return "the model has no such tensor"


def _accumulate(
    engine: OnnxRuntimeEngine,
    taps: list[Tap],
    samples: Iterator[Feed],
    workers: int,
    on_progress: Callable[[int], None] | None,
    on_seen: OnSeen | None,
) -> Statistics:
    total: Tensors = {tap.needs.tensor: NOTHING_SEEN for tap in taps}
    done = 0
    for size, part in _observe_all(engine, taps, samples, workers, on_seen):
        done += size
        for name, statistics in part.items():
            total[name] = total[name].merged(statistics)
        if on_progress is not None:
            on_progress(done)
    return Statistics(total, done)


def _observe_all(
    engine: OnnxRuntimeEngine, taps: list[Tap], samples: Iterator[Feed], workers: int, on_seen: OnSeen | None
) -> Iterator[tuple[int, Tensors]]:
    """Size and statistics of each group of samples, in their order; at most ``workers + 1`` groups are held."""
    groups = _groups(samples)
    pending: deque[tuple[int, Future[Tensors]]] = deque()

    def submit(count: int) -> None:
        for start, group in islice(groups, count):
            pending.append((len(group), pool.submit(_observe, engine, taps, start, group, on_seen)))

    with ThreadPoolExecutor(workers) as pool:
        try:
            submit(workers + 1)
            while pending:
                size, future = pending.popleft()
                part = future.result()
                submit(1)
                yield size, part
        finally:
            for _, future in pending:
                future.cancel()


def _groups(samples: Iterator[Feed]) -> Iterator[tuple[int, list[Feed]]]:
    """Consecutive samples in groups, with the index of the first."""
    start = 0
    while group := list(islice(samples, GROUP)):
        yield start, group
        start += len(group)


def _observe(
    engine: OnnxRuntimeEngine, taps: list[Tap], start: int, group: list[Feed], on_seen: OnSeen | None
) -> Tensors:
    observed = [_observe_one(engine, taps, index, sample) for index, sample in enumerate(group, start)]
    if on_seen is not None:
        for index, of_sample in enumerate(observed, start):
            for tap, found in zip(taps, of_sample, strict=True):
                if found is not None:
                    on_seen(tap.needs.tensor, index, found)
    parts = (
        (tap.needs.tensor, summarize(of_tap)) for tap, of_tap in zip(taps, zip(*observed, strict=True), strict=True)
    )
    return {tensor: part for tensor, part in parts if part is not None}


def _observe_one(engine: OnnxRuntimeEngine, taps: list[Tap], index: int, sample: Feed) -> list[Observation | None]:
    values: dict[str, Array] = {**sample, **(engine.infer(sample) if engine.outputs else {})}
    try:
        return [tap.read(values) for tap in taps]
    except NonFinite as problem:
        raise BadInput(
            f"holds {problem.found} in sample {index}",
            where=f"tensor {problem.tensor!r}",
            expected="finite activations",
            fix="look at that sample's inputs, or run the model in float32",
        ) from None
