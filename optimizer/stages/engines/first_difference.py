"""Which layer of an engine is the first that computes something else than its graph says.

The typed graph is cut at a few tensors at a time, the cut graph built for the same target and run beside its simulation
on a sample or two; what differs leads on (``graphs.bisection``). Each build has time that is left, and all together
``SEARCH_S``: where that ends, the nodes are named among which it lies.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import onnx_ir as ir
import onnx_ir.passes.common as common

from benchmarks.accuracy.compare import Accuracy, compare
from benchmarks.accuracy.first_difference import FirstDifference
from engines.apart import open_apart
from engines.build import build_engine
from engines.engine import Feed
from engines.errors import BuildError, BuildFailure, EngineError
from engines.targets.target import Target
from graphs.bisection import Bisection, FirstBad
from graphs.saving import save_model
from graphs.taps import cut_at
from optimizer.bundle import MODEL
from optimizer.events import Events
from optimizer.precision import PrecisionPlan
from optimizer.simulation.run import simulated
from optimizer.stages.engines.build import Terms
from optimizer.stages.forms.accuracy_check import ALIKE_DB
from optimizer.stages.forms.lowering import readable

SEARCH_S = 300.0
"""Seconds that the search may take in all. Chosen: a plan is built in 1 to 60 s (the measured builds of
docs/engines.md), and few engines need more than four of them.
"""
SAMPLES = 2
"""Samples a cut graph is run on: each tensor of one has thousands of values. Chosen."""


class LayerSearch:
    """Looks for the layer in engines that ``target`` builds of the graph ``typed``, whose plan is ``plan``."""

    def __init__(self, typed: Path, plan: PrecisionPlan, target: Target, terms: Terms, feeds: Sequence[Feed]) -> None:
        self._typed, self._plan, self._target, self._terms = typed, plan, target, terms
        self._feeds = feeds
        self._model = ir.load(typed)
        self._until = 0.0
        self._said: Callable[[str], None] = lambda _: None

    def find(self, engine: Path, show: Callable[[str], None]) -> FirstDifference | None:
        """Where ``engine`` (a folder) begins to differ; None where it does not on these samples.

        Raises ``EngineError`` and ``BuildError`` where the engine itself does not run.
        """
        self._until, self._said = time.monotonic() + SEARCH_S, show
        whole = _worst(self._beside(self._typed, engine))
        if whole is None or whole[1] >= ALIKE_DB - 1:
            return None
        search = Bisection(self._model, self._ask)
        found = search.first_bad(*whole, ALIKE_DB)
        return self._described(found) if found is not None else None

    def _described(self, found: FirstBad) -> FirstDifference:
        planned = self._plan.nodes.get(found.node)
        return FirstDifference(
            node=found.node,
            op_type=found.op_type,
            dtype=planned.dtype.value if planned is not None else "",
            tensor=found.tensor,
            sqnr_db=found.value,
            before_db=found.before if found.before < float("inf") else None,
            begins_here=found.begins_here,
            among=list(found.among),
        )

    def _ask(self, tensors: Sequence[str]) -> dict[str, float]:
        """The SQNR of tensors in an engine of the graph cut there; nothing where that is not to be had."""
        left = self._until - time.monotonic()
        if left <= 0:
            return {}
        self._said(f"which layer differs: {len(tensors)} tensors, {left:.0f} s left")
        with tempfile.TemporaryDirectory(prefix="enginewright-layers-") as place:
            graph, engine = Path(place) / MODEL, Path(place) / "engine"
            save_model(_cut(self._model, tensors), graph)
            try:
                self._build(graph, engine, left)
                accuracy = self._beside(graph, engine)
            except BuildError as error:
                if error.failure is BuildFailure.CANCELLED:
                    raise
                return {}
            except EngineError:
                return {}
        return {name: output.sqnr_db for name, output in accuracy.outputs.items() if output.floats}

    def _build(self, graph: Path, engine: Path, left: float) -> None:
        request = self._terms.request(self._target, graph, engine, self._plan.computes_in)
        limits = [limit for limit in (request.time_limit_s, left) if limit is not None]
        with readable(replace(request, time_limit_s=min(limits)), self._terms.held_back, Events()) as asked:
            build_engine(asked, cache=False)  # an engine of a piece is nobody's again

    def _beside(self, graph: Path, engine: Path) -> Accuracy:
        with simulated(graph) as twin, open_apart(engine) as own:
            twin.learn(self._terms.held_back.specs)
            return compare(twin, {"engine": own}, self._feeds)["engine"]


def _worst(accuracy: Accuracy) -> tuple[str, float] | None:
    floats = {name: output.sqnr_db for name, output in accuracy.outputs.items() if output.floats}
    return min(floats.items(), key=lambda item: item[1], default=None)


def _cut(model: ir.Model, tensors: Sequence[str]) -> ir.Model:
    cut = cut_at(model, tensors)
    common.RemoveUnusedNodesPass()(cut)
    return cut
