"""Which convolutions of the CPU form write their result in float.

Its integer kernel rounds the result to 8 bits, which TensorRT's does not. Inside a chain of integer ops the next one
would round it anyway. Where float ops read it (a network's head, a SiLU) that rounding comes on top, and may be all
there is: a segmentation's last layer at 17 dB of 44. How much error each result's rounding causes is measured, and the
convolutions whose products are cheapest for it give up the fused kernel, as few as bring the outputs near to what they
would be were all these results float.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import onnx_ir as ir

from calibration.table import CalibrationTable
from engines.engine import Feed
from graphs.writing.edits import GraphEdits, after, values_by_name
from optimizer.attempt import attempt
from optimizer.precision import Dtype
from optimizer.quantization.choosing.candidates import Candidate
from optimizer.quantization.corrections.fallback import FEW
from optimizer.quantization.corrections.sensitivity import Sensitivity, sample_count, sweep
from optimizer.quantization.corrections.switches import add_switches, choice, rounding_pair
from optimizer.quantization.judging.judge import CLEARLY, Judge, in_db
from optimizer.quantization.observing.sampling import Samples, spread
from optimizer.quantization.placement.insertion_points import Placement
from optimizer.quantization.rules.commuting import moves_values
from optimizer.quantization.settings import QuantizeSettings, placed

NEAR, NEAR_OF_FEW = 10**0.15, 10**0.05
"""Noise relative to that with all results in float that is near enough: 1.5 dB, half of what the CPU form may lie below
the typed one; and 0.5 dB of few samples, which do not tell where a result will end. Chosen."""
SWEPT_MACS = 2e10
"""Multiply-accumulates that measuring every result once may take; beyond, all stay as they are. Chosen."""
LEAST_PART = 0.05
"""Results that cause less of the noise than this are left as they are: 0.2 dB. Chosen."""
BIT = 0.25
"""Part of the noise (6 dB, one bit) that must go for work to be spent that is felt; less is bought only if it costs
``FEW`` of the MACs: the Fourier transform of Silero's front is a third of them, for 4 dB at 38 dB. Of few samples
any gain is taken."""


def float_results(
    model: ir.Model, chosen: Candidate, samples: Samples, settings: QuantizeSettings, judge: Judge, *, enough: float
) -> tuple[tuple[QuantizeSettings, Candidate], list[str]]:
    """Settings and candidate with the results in float whose rounding the outputs suffer from, judged; and notes.

    Where the noise is below ``enough`` nothing is changed, nor where that takes long to find out.
    """
    unchanged, noise, placement = (settings, chosen), chosen.noise, chosen.placement
    total = sum(settings.costs.values())
    if noise is None or noise < enough or not placement.results or len(placement.results) * total > SWEPT_MACS:
        return unchanged, []
    feeds = spread(samples.feeds, sample_count(len(placement.results), total, len(samples.feeds)))
    measured = partial(measure_results, model, placement, chosen.table, feeds)
    found, notes = attempt("measuring what rounding of results costs", measured, list[Sensitivity]())
    least, near = (1.0, NEAR_OF_FEW) if samples.few else (BIT, NEAR)
    names = chosen_results(found, settings.costs, noise, enough, least, near)
    if not names:
        return unchanged, notes
    wider = replace(settings, float_results=frozenset(names))
    changed = replace(chosen, placement=placed(model, wider, chosen.table))
    less, failed = judge.noise({"float": changed.quantize}, samples.judged)
    if not less or less["float"] >= CLEARLY * noise:
        return unchanged, [*notes, *failed]
    said = f"results of {', '.join(names)} in float: {in_db({'rounded to 8 bits': noise, 'in float': less['float']})}"
    return (wider, replace(changed, noise=less["float"])), [*notes, said]


def measure_results(
    model: ir.Model, placement: Placement, table: CalibrationTable, feeds: Sequence[Feed]
) -> list[Sensitivity]:
    """The noise that rounding each result in ``placement.results`` causes where float ops read it."""
    work = model.clone()
    edits, values = GraphEdits(work.graph), values_by_name(work.graph)
    switches = add_switches(edits, len(placement.results))
    ranges = {point.tensor: point.range_name for point in placement.activations}
    rounding = {name for name, node in placement.plan.nodes.items() if node.dtype is Dtype.INT8}
    for index, (node, tensor) in enumerate(placement.results.items()):
        value = values[tensor]
        parameters = placement.scheme.static.parameters(value, table.tensors[ranges[tensor]])
        readers = [use for use in value.uses() if use.node.name not in rounding or moves_values(use.node)]
        same = edits.node("Identity", [value], f"{node}/same", f"{tensor}/same", ir.DataType.FLOAT, value.shape)
        made = choice(edits, node, (switches, index), value, rounding_pair(edits, value, parameters, node), [same])
        after(edits.graph, value, made)
        for use in readers:
            use.node.replace_input_with(use.idx, made[-1].outputs[0])
    return sweep(work, str(switches.name), list(placement.results), feeds)


def chosen_results(
    found: Sequence[Sensitivity],
    costs: Mapping[str, int],
    noise: float,
    enough: float,
    least: float = BIT,
    near: float = NEAR,
) -> list[str]:
    """Of the convolutions ``found`` those to write in float, where all noise is ``noise``: most noise for least work
    first, until what is left is ``near`` what all in float would leave, or ``enough``. Work that is felt is spent where
    at most ``least`` of the noise is left.
    """
    target = max(near * max(noise - sum(item.noise for item in found), 0.0), enough)
    worth = sorted(
        (item for item in found if item.noise >= LEAST_PART * noise),
        key=lambda item: -item.noise / max(costs.get(item.node, 0), 1),
    )
    chosen, left = _taken(worth, costs, noise, target, sum(costs.values()))
    if left > least * noise:
        chosen, _ = _taken(worth, costs, noise, target, FEW * sum(costs.values()))
    return chosen


def _taken(
    found: Sequence[Sensitivity], costs: Mapping[str, int], noise: float, target: float, budget: float
) -> tuple[list[str], float]:
    """Those of ``found``, in order, that ``budget`` pays for and ``target`` needs; and the noise of the others."""
    chosen: list[str] = []
    for item in found:
        if noise > target and costs.get(item.node, 0) <= budget:
            chosen.append(item.node)
            noise, budget = noise - item.noise, budget - costs.get(item.node, 0)
    return chosen, noise
