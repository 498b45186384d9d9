"""Which layer of an engine computes something else than its graph says.

The typed graph is cut at a few tensors and the cut graph built for the same target; each stretch between them is
simulated on what the engine itself gave at its beginning, and compared at its end. So a value between two codes that
falls the other way, and what later layers make of it, is nobody's fault behind it. The stretch that differs most is cut
again, until it holds nothing that can be read. Each build has time that is left, and all together ``SEARCH_S``.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import onnx_ir as ir
import onnx_ir.passes.common as common

from benchmarks.accuracy.compare import SQNR_CAP_DB, Accuracy, OutputNoise, compare
from benchmarks.accuracy.first_difference import FirstDifference
from engines.apart.opening import open_apart
from engines.build import build_engine
from engines.engine import Array, EngineBase, Feed
from engines.errors import BuildError, BuildFailure, EngineError
from engines.targets.target import Target
from graphs.cutting.bisection import WIDTH, spread
from graphs.cutting.stretches import Stretch, stretch
from graphs.cutting.taps import cut_at
from graphs.storage.saving import save_model
from optimizer.bundle import MODEL
from optimizer.events import Events
from optimizer.precision import PrecisionPlan
from optimizer.simulation.run import simulated
from optimizer.stages.engines.build import Terms
from optimizer.stages.forms.accuracy_check import ALIKE_DB
from optimizer.stages.forms.lowering import readable

SEARCH_S = 300.0
"""Seconds after which no further engine is built; a build under way ends then, an engine that hangs by limits of its
own (``engines.apart.child_engine``). Chosen: a plan is built in 1 to 60 s (the measured builds of docs/engines.md), and
few engines need more than four of them.
"""
ROUNDS = 10
"""Engines built at most. Chosen: 1,000 nodes in a row take four, and each stretch that turns out harmless one more."""
SAMPLES = 2
"""Samples a cut graph is run on: each tensor of one has thousands of values. Chosen."""


@dataclass(frozen=True)
class _Judged:
    """A stretch, and the SQNR of its result in the engine beside the simulation on the same inputs."""

    stretch: Stretch
    db: float


class LayerSearch:
    """Looks for the layer in engines that ``target`` builds of the graph ``typed``, whose plan is ``plan``."""

    def __init__(self, typed: Path, plan: PrecisionPlan, target: Target, terms: Terms, feeds: Sequence[Feed]) -> None:
        self._typed, self._plan, self._target, self._terms = typed, plan, target, terms
        self._feeds = feeds
        self._model = ir.load(typed)
        self._until = 0.0
        self._said: Callable[[str], None] = lambda _: None

    def find(self, engine: Path, show: Callable[[str], None]) -> FirstDifference | None:
        """Where ``engine`` (a folder) differs; None where it does not on these samples.

        Raises ``EngineError`` and ``BuildError`` where the engine itself does not run.
        """
        self._until, self._said = time.monotonic() + SEARCH_S, show
        with open_apart(engine) as own:
            whole = _worst(self._beside(self._typed, own))
        if whole is None or whole[1] >= ALIKE_DB - 1:
            return None
        result = next(value for value in self._model.graph.outputs if value.name == whole[0])
        open_ = [_Judged(stretch(self._model.graph, result, ()), whole[1])]
        for _ in range(ROUNDS):
            worst = min(open_, key=lambda judged: judged.db)
            if not worst.stretch.inside or time.monotonic() > self._until:
                break
            open_.remove(worst)
            open_ += self._divided(worst)
        return self._described(open_)

    def _divided(self, judged: _Judged) -> list[_Judged]:
        """The stretches that it consists of; itself, with nothing inside, where no engine of its parts is to be had."""
        whole = judged.stretch
        ends = [*spread(whole.inside, WIDTH), whole.result]
        given = [str(value.name) for value in whole.inputs if not value.is_graph_input()]
        with self._cut([*given, *(str(value.name) for value in ends)]) as engine:
            if engine is None:
                return [replace(judged, stretch=replace(whole, inside=()))]
            answers = [engine.infer(feed) for feed in self._feeds]
        parts = [stretch(self._model.graph, end, {*ends, *whole.inputs} - {end}) for end in ends]
        return [_Judged(part, self._own(part, answers)) for part in parts]

    def _own(self, part: Stretch, answers: Sequence[Mapping[str, Array]]) -> float:
        """SQNR of a stretch's result, dB, on what the engine gave at its beginning; the cap where it does not run by
        itself.
        """
        model, name = part.model(self._model), str(part.result.name)
        if model is None:
            return SQNR_CAP_DB
        noise = OutputNoise()
        with tempfile.TemporaryDirectory(prefix="enginewright-layers-") as place:
            graph = Path(place) / MODEL
            save_model(model, graph)
            try:
                with simulated(graph) as twin:
                    for number, (feed, answer) in enumerate(zip(self._feeds, answers, strict=True)):
                        given = {str(v.name): answer.get(str(v.name), feed.get(str(v.name))) for v in part.inputs}
                        expected = twin.infer({key: value for key, value in given.items() if value is not None})
                        noise.add(expected[name], answer[name], number)
            except EngineError:
                return SQNR_CAP_DB
        return noise.result().sqnr_db

    def _described(self, judged: Sequence[_Judged]) -> FirstDifference:
        worst, *others = sorted(judged, key=lambda one: one.db)
        node = worst.stretch.result.producer()
        assert node is not None
        planned = self._plan.nodes.get(str(node.name))
        return FirstDifference(
            node=str(node.name),
            op_type=node.op_type,
            dtype=planned.dtype.value if planned is not None else "",
            tensor=str(worst.stretch.result.name),
            sqnr_db=worst.db,
            others_db=others[0].db if others else None,
            among=[str(node.name) for node in worst.stretch.nodes],
        )

    @contextmanager
    def _cut(self, tensors: Sequence[str]) -> Iterator[EngineBase | None]:
        """An engine of the graph cut at ``tensors``; None where none is built, or time is up."""
        left = self._until - time.monotonic()
        if left <= 0:
            yield None
            return
        self._said(f"which layer differs: {len(tensors)} tensors, {left:.0f} s left")
        with tempfile.TemporaryDirectory(prefix="enginewright-layers-") as place, ExitStack() as stack:
            graph, engine = Path(place) / MODEL, Path(place) / "engine"
            save_model(_cut_at(self._model, tensors), graph)
            try:
                self._build(graph, engine, left)
                opened = stack.enter_context(open_apart(engine))
            except (BuildError, EngineError) as error:
                if isinstance(error, BuildError) and error.failure is BuildFailure.CANCELLED:
                    raise
                opened = None
            yield opened

    def _build(self, graph: Path, engine: Path, left: float) -> None:
        request = self._terms.request(self._target, graph, engine, self._plan.computes_in)
        limits = [limit for limit in (request.time_limit_s, left) if limit is not None]
        with readable(replace(request, time_limit_s=min(limits)), self._terms.held_back, Events()) as asked:
            build_engine(asked, cache=False)  # an engine of a piece is nobody's again

    def _beside(self, graph: Path, engine: EngineBase) -> Accuracy:
        with simulated(graph) as twin:
            twin.learn(self._terms.held_back.specs)
            return compare(twin, {"engine": engine}, self._feeds)["engine"]


def _worst(accuracy: Accuracy) -> tuple[str, float] | None:
    floats = {name: output.sqnr_db for name, output in accuracy.outputs.items() if output.floats}
    return min(floats.items(), key=lambda item: item[1], default=None)


def _cut_at(model: ir.Model, tensors: Sequence[str]) -> ir.Model:
    cut = cut_at(model, tensors)
    common.RemoveUnusedNodesPass()(cut)
    return cut
