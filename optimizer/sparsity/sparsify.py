"""A float graph made 2:4 with as little loss as is found: channels reordered, layers solved for, the better taken."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice

import numpy as np
import onnx_ir as ir

from engines.engine import Array, Feed
from graphs.reading.number_types import Floats
from optimizer.attempt import attempt
from optimizer.quantization.judging.judge import Judge, in_db
from optimizer.quantization.judging.rewriting import REWRITE_FEEDS, Step, rewritten
from optimizer.quantization.observing.capture import observe
from optimizer.quantization.observing.sampling import spread
from optimizer.sparsity.eligible import PRUNED, SparseWeight, survey
from optimizer.sparsity.magnitude import PruneTwoFour
from optimizer.sparsity.permute import ChannelSet, PermuteChannels, channel_sets
from optimizer.sparsity.reconstruct import Solved, Store, reconstruct
from optimizer.sparsity.record import NodeSparsity, recorded

SAMPLE_MACS = 6e11
"""Multiply-accumulates of the model that one run over all samples may take; chosen: some 150 samples of a ResNet-50."""
FEWEST, MOST = 16, 512
"""Samples that layers are solved from: those ``SAMPLE_MACS`` pay for, within these bounds. Chosen."""
HELD = 8
"""One of so many samples is kept back, to judge on; where there are fewer than that, all serve for both. Chosen."""
POWER_FEEDS = 32
"""Samples that mean squares of channels come from; they differ little from sample to sample. Chosen."""


@dataclass(frozen=True)
class Sparsified:
    """``model`` is the pruned graph, ``dense`` the same before pruning (channels in their new order), ``nodes`` what
    became of every node that TensorRT has sparse tactics for, by name.
    """

    model: ir.Model
    dense: ir.Model
    nodes: dict[str, NodeSparsity]
    notes: list[str]


@dataclass(frozen=True)
class How:
    """What to do beside pruning by magnitude; ``macs`` are the model's per sample."""

    macs: int
    permute: bool = True
    solve: bool = True
    seed: int = 0
    store: Store = lambda array: array
    on_step: Callable[[str], None] = lambda text: None
    on_layer: Callable[[int, int], None] = lambda done, total: None


def sparsify(model: ir.Model, samples: Iterable[Feed], how: How) -> Sparsified:
    """Prune a copy of ``model`` to 2:4 (weights shared) on the first of ``samples``, one per feed."""
    weights = survey(model)
    if not any(weight.prunable for weight in weights):
        nodes = {name: node for weight in weights for name, node in recorded(weight).items()}
        return Sparsified(model, model, nodes, ["2:4: no weight is eligible that is not 2:4 already"])
    feeds = list(islice(samples, int(min(max(SAMPLE_MACS / max(how.macs, 1), FEWEST), MOST))))
    dense, notes = _reordered(model, weights, feeds, how) if how.permute else (model, list[str]())
    if dense is not model:
        weights = survey(dense)
    pruned = dense.clone()
    PruneTwoFour().apply(pruned)
    solved: dict[str, Solved] = {}
    if how.solve:
        pruned, solved, told = _solved(dense, pruned, weights, feeds, how)
        notes += told
    nodes = {name: node for weight in weights for name, node in _with_error(weight, solved).items()}
    return Sparsified(pruned, dense, nodes, notes)


def _with_error(weight: SparseWeight, solved: dict[str, Solved]) -> dict[str, NodeSparsity]:
    found = solved.get(weight.name)
    if found is None:
        return recorded(weight)
    lost, plainly = found.reconstructed, found.by_magnitude
    reason = f"{PRUNED}, solved for: {lost:.2%} of what its outputs vary by is lost, by magnitude {plainly:.2%}"
    return {
        name: replace(node, reason=reason, error=lost, by_magnitude=plainly) for name, node in recorded(weight).items()
    }


def _reordered(
    model: ir.Model, weights: Sequence[SparseWeight], feeds: Sequence[Feed], how: How
) -> tuple[ir.Model, list[str]]:
    """With channels in the order in which pruning loses least; what is fixed, and what was not exact, is told."""
    how.on_step("looking for the order of channels in which 2:4 takes least")
    places = channel_sets(model, weights)
    unknown: dict[str, Floats] = {}
    look = partial(_power, model, places, spread(feeds, POWER_FEEDS))
    power, failed = attempt("mean squares of channels", look, unknown)
    step = Step("order of channels", lambda _: PermuteChannels(power))
    changed, notes = rewritten(model, [step], spread(feeds, REWRITE_FEEDS))
    fixed = [f"{place.name}: input channels keep their order: {place.fixed}" for place in places if place.fixed]
    return changed, [*failed, *notes, *fixed]


def _power(model: ir.Model, places: Sequence[ChannelSet], feeds: Sequence[Feed]) -> dict[str, Floats]:
    """Mean squares of the activations that free sets of channels run along, by channel."""
    axes = {place.data: place.prunes[0].data_axis for place in places if not place.fixed}
    sums: dict[str, list[Floats]] = {name: [] for name in axes}

    def visit(name: str, value: Array, _: int) -> None:
        rows = np.moveaxis(value, axes[name], -1).reshape(-1, value.shape[axes[name]])
        sums[name].append(np.square(rows, dtype=np.float32).mean(axis=0))

    observe(model, list(axes), feeds, visit)
    return {name: np.mean(found, axis=0) for name, found in sums.items()}


def _solved(
    dense: ir.Model, by_magnitude: ir.Model, weights: Sequence[SparseWeight], feeds: Sequence[Feed], how: How
) -> tuple[ir.Model, dict[str, Solved], list[str]]:
    """Layers solved for, where samples that were kept back gain by it; else by magnitude."""
    how.on_step("pruning layer by layer, each made up for by what stays")
    kept_back = [feed for index, feed in enumerate(feeds) if index % HELD == HELD - 1]
    fit = [feed for index, feed in enumerate(feeds) if index % HELD != HELD - 1]
    held, which = (kept_back, "kept back") if kept_back else (fit, "that layers were solved from")

    def work() -> tuple[ir.Model, dict[str, Solved], list[str]]:
        return reconstruct(dense, weights, fit, how.macs, seed=how.seed, store=how.store, on_layer=how.on_layer)

    nothing: tuple[ir.Model, dict[str, Solved], list[str]] = (by_magnitude, {}, [])
    (made, found, notes), failed = attempt("reconstruction of pruned layers", work, nothing)
    notes = [*failed, *notes]
    if not found:
        return by_magnitude, {}, notes
    judge, noise = Judge(dense), dict[str, float]()
    for name, model in (("by magnitude", by_magnitude), ("reconstructed", made)):
        reached, told = judge.noise_of(model, held)
        notes += told
        if reached is not None:
            noise[name] = reached
    if len(noise) == 2:
        notes.append(f"2:4, on {len(held)} samples {which}: the outputs have {in_db(noise)} beside the dense model's")
        if noise["by magnitude"] <= noise["reconstructed"]:
            return by_magnitude, {}, [*notes, "pruned by magnitude alone: reconstruction did not help"]
    return made, found, notes
