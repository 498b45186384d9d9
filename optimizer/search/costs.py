"""What it costs that a node leaves int8, in the terms that ``--optimize-for`` names: a share of what all nodes' leaving
would cost together.

Of a GPU that is not here the time of a node is a prediction (``benchmarks.roofline``), off by up to half: so half of a
node's cost is its multiply-accumulates, which no prediction can be wrong about. Of the CPU at hand it is measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import onnx_ir as ir

from benchmarks.roofline.fusion import kernels
from benchmarks.roofline.kernels import Kernel
from benchmarks.roofline.predict import OFFLINE_BATCH, layer_times
from benchmarks.roofline.prediction import calibration
from benchmarks.timing.node_times import times_of_nodes
from benchmarks.timing.op_times import profile_kernels
from engines.engine import Feed
from engines.targets.boards import GpuRates
from engines.targets.target import Target
from graphs.reading.weighted import is_weighted
from optimizer.attempt import attempt
from optimizer.precision import Dtype
from optimizer.quantization.codes.scheme import SCHEMES
from optimizer.quantization.placement.formats import formats_of
from optimizer.settings.options import Precision
from optimizer.typed.graph import type_by_structure

PREDICTED_PART = 0.5
"""Of a node's cost, what is predicted of its time; the rest is its multiply-accumulates. Chosen: predictions were off
by up to a third in throughput and more in latency, where MACs cannot tell a layer that only waits for memory."""
PROFILED_RUNS = 10
"""Runs of a CPU's graph that the time of its kernels is the median of. Chosen."""

NodeCosts = Mapping[str, float]


@dataclass(frozen=True)
class Costs:
    """``by_node``, of leaving int8 for float, sums to one; ``how`` says what they are, in a sentence. ``parts``: by
    another format that every target takes, the part of that which leaving for it costs each node that can be in it.
    """

    by_node: dict[str, float]
    how: str
    parts: dict[Dtype, dict[str, float]] = field(default_factory=dict)


def gpu_costs(
    model: ir.Model,
    shapes: Mapping[str, Sequence[int]],
    macs: Mapping[str, int],
    targets: Sequence[Target],
    optimize_for: str,
    batchable: bool,
) -> Costs:
    """Costs in the graph for TensorRT of the float ``model``, the same for every one of ``targets``: where these differ
    each has an equal say, for energy one by the power its board may draw. ``shapes`` are of one sample.
    """
    boards = {target.title or target.name: rates for target in targets if (rates := target.rates) is not None}
    work = _shares(macs)
    nothing: tuple[list[Kernel], list[Kernel]] = ([], [])

    def typed() -> tuple[list[Kernel], list[Kernel]]:
        int8, half = (type_by_structure(model, precision, macs) for precision in (Precision.INT8, Precision.FP16))
        return kernels(int8, shapes), kernels(half, shapes)

    (int8, half), _ = attempt("costs by the roofline model", typed, nothing) if boards else (nothing, [])
    if optimize_for == "size" and int8:
        return Costs(_shares(_more(_weights(int8), _weights(half))), "bytes of weights more than in int8")
    if not int8:
        return Costs(work, "multiply-accumulates")
    batch = 1 if optimize_for == "latency" or not batchable else OFFLINE_BATCH
    told = [_predicted(int8, half, rates, batch) for rates in boards.values()]
    scale = [
        rates.watts if optimize_for == "energy" else 1.0 / (sum(t.values()) or 1.0)
        for t, rates in zip(told, boards.values(), strict=True)
    ]
    time = _shares({node: sum(s * t[node] for s, t in zip(scale, told, strict=True)) for node in told[0]})
    if not time:
        return Costs(work, "multiply-accumulates")
    mixed = {node: PREDICTED_PART * time.get(node, 0.0) + (1 - PREDICTED_PART) * part for node, part in work.items()}
    what = "energy, taken as time at full power," if optimize_for == "energy" else f"time at batch {batch}"
    return Costs(_shares(mixed), f"half multiply-accumulates, half {what} predicted for {', '.join(boards)}")


def format_parts(model: ir.Model, targets: Sequence[Target]) -> dict[Dtype, dict[str, float]]:
    """``Costs.parts`` of every format with ranges from calibration that all of ``targets`` take: the slowest target's,
    by its peak rates. FP8 runs as fast as INT8 where it is there at all, and costs ``LEAST_PART``.
    """
    rates = [target.rates for target in targets]
    found: dict[Dtype, dict[str, float]] = {}
    for dtype in (dtype for dtype, scheme in SCHEMES.items() if scheme.calibrated and dtype is not Dtype.INT8):
        able = [str(node.name) for node in model.graph if is_weighted(node) and not formats_of(node, targets)[dtype]]
        if able and rates and all(rates):
            part = max(_part(gpu, dtype.value) for gpu in rates if gpu is not None)
            found[dtype] = dict.fromkeys(able, part)
    return found


def _part(gpu: GpuRates, dtype: str) -> float:
    int8, half, other = (1 / gpu.rate(name) for name in ("int8", "fp16", dtype))
    return min(max((other - int8) / (half - int8), LEAST_PART), 1.0) if half > int8 else 1.0


LEAST_PART = 0.02
"""Of what float costs, what another format costs at least: where both are as good, a node stays in int8.
Chosen."""


def cpu_costs(
    float_graph: Path, int8_graph: Path, feed: Feed, macs: Mapping[str, int], felt: Mapping[str, int], optimize_for: str
) -> Costs:
    """Costs in the CPU's form: the time of each kernel in ``float_graph`` beyond that in ``int8_graph``, measured here
    with ``feed``. ``felt`` stand in for nodes of which no kernel is found: MACs and what conversions cost beside them.
    """
    if optimize_for == "size":
        sizes = _weight_elements(ir.load(float_graph))
        return Costs(_shares({node: sizes.get(node, 0) for node in macs}), "bytes of weights more than in int8")
    nothing: tuple[dict[str, float], dict[str, float]] = ({}, {})

    def measured() -> tuple[dict[str, float], dict[str, float]]:
        return tuple(_times_by_node(path, feed, macs) for path in (float_graph, int8_graph))  # type: ignore[return-value]

    (before, after), _ = attempt("time per node on this CPU", measured, nothing)
    known = before.keys() & after.keys()
    if not known:
        return Costs(_shares(felt), "multiply-accumulates and conversions")
    extra = {node: max(before[node] - after[node], 0.0) for node in known}
    rate = sum(extra.values()) / (sum(felt.get(node, 0) for node in known) or 1)
    costs = {node: extra.get(node, rate * felt.get(node, 0)) for node in macs}
    least = LEAST * (sum(costs.values()) or 1.0) / (sum(macs.values()) or 1)
    costs = {node: cost + least * macs[node] for node, cost in costs.items()}
    return Costs(_shares(costs), f"time on this CPU, measured of {len(known)} of {len(macs)} nodes")


LEAST = 0.05
"""What all nodes cost by their multiply-accumulates even where float was measured to be no slower: a twentieth, so that
none leaves int8 for nothing."""


def _times_by_node(path: Path, feed: Feed, macs: Mapping[str, int]) -> dict[str, float]:
    """Milliseconds of every node of ``macs`` in ONNX Runtime's kernels, found by the names of nodes and tensors."""
    graph = ir.load(path)
    homes, found = _homes(graph, macs), dict[str, float]()
    for name, milliseconds in times_of_nodes(graph, profile_kernels(path, feed, runs=PROFILED_RUNS)).items():
        if (node := homes.get(name)) is not None:
            found[node] = found.get(node, 0.0) + milliseconds
    return found


def _homes(model: ir.Model, macs: Mapping[str, int]) -> dict[str, str]:
    """By the name of a node or of a tensor: the node of ``macs`` that it is, or whose result it is made of."""
    homes: dict[str, str] = {}
    for node in model.graph:
        made = [value.producer() for value in node.inputs if value is not None]
        home = (
            str(node.name)
            if node.name in macs
            else next((homes[name] for maker in made if maker is not None and (name := str(maker.name)) in homes), None)
        )
        if home is not None and (node.name in macs or node.op_type not in _NO_EPILOGUE):
            homes[str(node.name)] = home
            homes |= {str(output.name): home for output in node.outputs}
    return homes


_NO_EPILOGUE = frozenset({"Concat", "MaxPool", "AveragePool", "GlobalAveragePool", "Reshape", "Transpose", "Resize"})
"""Operators that are kernels of their own behind a product."""


def _predicted(int8: Sequence[Kernel], half: Sequence[Kernel], gpu: GpuRates, batch: int) -> dict[str, float]:
    """Microseconds per batch by which every product takes longer in half precision."""
    factors = calibration().factors
    times = [
        {product.node: time.microseconds for time in layer_times(found, gpu, factors, batch)
         for product in time.kernel.products}
        for found in (int8, half)
    ]  # fmt: skip
    return _more(*times)


def _more(less: Mapping[str, float], more: Mapping[str, float]) -> dict[str, float]:
    return {node: max(more[node] - value, 0.0) for node, value in less.items() if node in more}


def _weights(found: Sequence[Kernel]) -> dict[str, float]:
    return {product.node: float(kernel.weight_bytes) for kernel in found for product in kernel.products}


def _weight_elements(model: ir.Model) -> dict[str, int]:
    constants = model.graph.initializers
    return {
        str(node.name): sum(value.const_value.size for value in node.inputs
                            if value is not None and value.name in constants and value.const_value is not None)
        for node in model.graph
    }  # fmt: skip


def _shares(costs: Mapping[str, float]) -> dict[str, float]:
    total = sum(costs.values())
    return {node: cost / total for node, cost in costs.items()} if total > 0 else {}
