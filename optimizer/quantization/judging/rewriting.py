"""Exact rewrites of the float graph, verified: the graph is run before and after, and what differs is undone.

A rewrite that is exact on paper may still compute other numbers: by a fault of ours, or because the graph makes much of
a rounding error (zeros of padded windows that become 1e-7 and are then divided by their own length). One comparison
follows each rewrite; only where it fails are the places it changed halved until those that differ are known.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import onnx_ir as ir

from engines.engine import Feed
from optimizer.attempt import attempt
from optimizer.equivalence import Answers, Equivalence

REWRITE_FEEDS = 4
"""Feeds the graphs are compared on; what differs by structure differs on the first. Chosen."""


class ExactRewrite(Protocol):
    """A rewrite made of independent changes, each at a place with a name of its own."""

    def apply(self, model: ir.Model) -> Mapping[str, str]:
        """Decide and change ``model`` in place; returns place -> note."""

    def redo(self, model: ir.Model, places: Collection[str]) -> None:
        """Make the changes that ``apply`` decided on again, at ``places`` only, in a graph as it was before."""


@dataclass(frozen=True)
class Step:
    """``make`` gets the graph the rewrite will be applied to; ``what`` names it for notes."""

    what: str
    make: Callable[[ir.Model], ExactRewrite]


def rewritten(model: ir.Model, steps: Sequence[Step], feeds: Sequence[Feed]) -> tuple[ir.Model, list[str]]:
    """``model`` after all ``steps``, each as far as it changes no answer to ``feeds``; and what was done and undone.

    ``model`` itself is not changed. A step that fails is left out with a note.
    """
    if not steps:
        return model, []
    answers, notes = attempt("exact rewrites of the float graph", partial(Answers.of, model, feeds), None)
    if answers is None:
        return model, notes
    for step in steps:
        nothing: tuple[ir.Model, list[str]] = (model, [])
        (model, made), failed = attempt(step.what, partial(_checked, model, step, answers), nothing)
        notes += [*failed, *made]
    return model, notes


def _checked(model: ir.Model, step: Step, answers: Answers) -> tuple[ir.Model, list[str]]:
    """A copy of ``model`` with the changes of ``step`` that keep its answers, and their notes."""
    changed = model.clone()
    rewrite = step.make(model)
    made = rewrite.apply(changed)
    if not made:
        return model, []
    found = answers.compare(changed)
    if found.same:
        return changed, list(made.values())
    search = _Search(model, rewrite, answers)
    wrong = search.wrong(tuple(made), found)
    kept = [place for place in made if place not in wrong]
    undone = [f"undone: {step.what} at {place}: not exact there ({why})" for place, why in wrong.items()]
    changed = search.redone(kept)
    last = answers.compare(changed) if kept else found
    if kept and last.same:
        return changed, [*(made[place] for place in kept), *undone]
    return model, [f"undone: {step.what}, everywhere: not exact on this graph ({last.why})"]


@dataclass(frozen=True)
class _Search:
    """Which places of a rewrite change the answers of ``model``."""

    model: ir.Model
    rewrite: ExactRewrite
    answers: Answers

    def redone(self, places: Collection[str]) -> ir.Model:
        copy = self.model.clone()
        self.rewrite.redo(copy, places)
        return copy

    def wrong(self, places: Sequence[str], found: Equivalence) -> dict[str, str]:
        """Those of ``places``, known to differ as ``found`` when all are changed, that differ alone: place -> how."""
        if len(places) == 1:
            return {places[0]: found.why}
        middle = len(places) // 2
        culprits: dict[str, str] = {}
        for half in (places[:middle], places[middle:]):
            alone = self.answers.compare(self.redone(half))
            if not alone.same:
                culprits |= self.wrong(half, alone)
        return culprits
