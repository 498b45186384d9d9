"""What the makers of both backends' forms stand on: the float graph, what an update keeps, the search, the typer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import Event

from optimizer.events import Events
from optimizer.quantization.codes.scheme import Scheme
from optimizer.quantization.prepared import Prepared, QuantizedModel
from optimizer.stages.forms.accuracy_check import AccuracyChecker
from optimizer.stages.forms.as_before import AsBefore
from optimizer.stages.forms.as_given import AsGiven
from optimizer.stages.forms.calibrated import calibrated
from optimizer.stages.forms.describing import STAGE, FormDescriber, Written
from optimizer.stages.forms.float_graph import FloatGraph
from optimizer.stages.forms.mixing import searched
from optimizer.stages.forms.searching import Maker
from optimizer.stages.forms.typed_forms import TypedForm
from optimizer.stages.job import Cleaned, Job
from optimizer.stages.runner import StageRunner
from optimizer.typed.graph import GraphTyper
from optimizer.typed.high_precision import Observed


@dataclass(frozen=True)
class Making:
    """``graph`` is what forms are made of, ``dense`` the same before it was pruned; ``before`` is what an update keeps,
    ``as_given`` the way of a model that came quantized, ``checker`` opens FP32 when it is first asked for, ``written``
    hears of graphs that are to be checked.
    """

    job: Job
    cleaned: Cleaned
    graph: FloatGraph
    dense: FloatGraph
    before: AsBefore
    as_given: AsGiven | None
    checker: Callable[[], AccuracyChecker]
    runner: StageRunner
    events: Events
    written: Written

    @property
    def describe(self) -> FormDescriber:
        return FormDescriber(self.job, self.graph, self.dense, self.checker, self.events, self.written)

    @property
    def calibrates(self) -> bool:
        """Whether a quantized precision is asked for of a model that did not come in it."""
        return self.job.settings.quantizes and self.as_given is None

    def prepared(self, scheme: Scheme, stop: Event) -> Prepared:
        """The graph ready to quantize: by what an update keeps where that still fits, else calibrated."""
        return self.before.prepared(self.graph, scheme, stop) or self._calibrated(scheme, stop)

    def following(self, found: Prepared) -> Prepared:
        """``found`` by the plan, where one was given."""
        asked, precision = self.job.settings.plan, self.job.settings.precision
        unnamed = "" if precision.quantized else f"asked for with --precision {precision.value}"
        return found if asked is None else found.following(asked, unnamed)

    def as_before(
        self, prepared: Prepared | None, make: Callable[[QuantizedModel], TypedForm], stop: Event
    ) -> tuple[Prepared | None, TypedForm | None]:
        """Of an update the form by what its bundle keeps; where that is over the budget none, and what is prepared anew
        in place of ``prepared``.
        """
        if prepared is None or not prepared.again:
            return prepared, None
        if (form := self.before.form(prepared, make)) is not None:
            return prepared, form
        return self.following(self._calibrated(prepared.settings.scheme, stop)), None

    def searched(self, prepared: Prepared, maker: Maker) -> TypedForm:
        """The fastest form within the budget that was given."""
        return searched(self.job, self.cleaned, self.runner, self.events, STAGE, prepared, maker)

    def typer(self, observed: Observed | None = None) -> GraphTyper:
        """What types the graph, as often as a budget asks."""
        graph, settings = self.graph, self.job.settings
        return GraphTyper(graph.model, settings.precision, graph.joined, graph.costs, observed, settings.plan)

    def _calibrated(self, scheme: Scheme, stop: Event) -> Prepared:
        return calibrated(self.job, self.cleaned, self.graph, scheme, self.runner, self.events, stop)
