"""The calibration data as quantization uses it: feeds to look at, and streaming passes over all of them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import RLock
from typing import Any, TypeAlias, TypeVar

import numpy as np
import onnx_ir as ir

from calibration.collect import collect
from calibration.plan import CollectionPlan
from calibration.ranges import choose_ranges
from calibration.statistics import ChannelStatistics, StatisticNeeds
from calibration.summary import Observation
from calibration.table import CalibrationTable
from engines.engine import Feed
from engines.parallel import lending_cores
from graphs.reading.number_types import Floats, NumberType
from optimizer.quantization.codes.scheme import Scheme
from optimizer.quantization.observing.capture import Reach

_Decisions = TypeVar("_Decisions")
Ends: TypeAlias = "dict[str, tuple[Floats, Floats]]"
"""Least and largest value of every channel of activations, by name: two [channels]."""


class Known:
    """What is known of a float graph that several forms are made of: the ends of its channels, and what is done to
    them. The form made first finds it out for the next.
    """

    def __init__(self) -> None:
        self._ends: dict[tuple[Hashable, str, int], tuple[Floats, Floats]] = {}
        self._decided: dict[tuple[Hashable, Scheme], Any] = {}
        self._graphs: list[ir.Model] = []  # as long as they are held, their weights' ids are their own
        self._expected: tuple[Scheme, ...] = ()
        self._looking = RLock()

    def expect(self, schemes: Iterable[Scheme]) -> None:
        """Forms by these will be made of it: what pays is looked for by all of them while the values are at hand."""
        self._expected = tuple(schemes)

    def ends(self, model: ir.Model, axes: Mapping[str, int], find: Callable[[list[tuple[str, int]]], Ends]) -> Ends:
        """The ends along ``axes``, name -> axis; ``find`` looks for those not known of this graph or an equal copy."""
        graph = _contents(model)
        with self._one_at_a_time():
            if new := [item for item in axes.items() if (graph, *item) not in self._ends]:
                self._ends |= {(graph, name, axes[name]): ends for name, ends in find(new).items()}
                self._graphs.append(model)
        return {name: self._ends[graph, name, axis] for name, axis in axes.items()}

    def decisions(
        self,
        model: ir.Model,
        scheme: Scheme,
        decide: Callable[[Sequence[Scheme]], Sequence[_Decisions]],
    ) -> _Decisions:
        """What pays at the channels of ``model`` in a form by ``scheme``; ``decide`` finds it out for several."""
        graph = _contents(model)
        with self._one_at_a_time():
            if (graph, scheme) not in self._decided:
                wanted = list(dict.fromkeys((scheme, *self._expected)))
                self._decided |= {(graph, one): made for one, made in zip(wanted, decide(wanted), strict=True)}
                self._graphs.append(model)
        found: _Decisions = self._decided[graph, scheme]
        return found

    @contextmanager
    def _one_at_a_time(self) -> Iterator[None]:
        """Forms are made side by side: what one looks for the other waits for, and lends its share of the cores."""
        with lending_cores():
            self._looking.acquire()
        try:
            yield
        finally:
            self._looking.release()


def _contents(model: ir.Model) -> Hashable:
    """Equal for copies that share their weights and nothing was done to."""
    nodes = tuple(
        (node.op_type, *(v and v.name for v in (*node.inputs, *node.outputs)), str(node.attributes.values()))
        for node in model.graph
    )
    weights = tuple((name, id(value.const_value)) for name, value in model.graph.initializers.items())
    return nodes, weights


@dataclass(frozen=True)
class Calibrator:
    """``samples`` gives the calibration feeds anew at every call; ``methods`` the range methods to make tables by.

    ``batchable``: axis 0 of every input counts independent samples. ``calibrated`` is False where the feeds are
    synthetic. ``on_plan`` and ``on_progress`` hear of every pass, see ``calibration.collect``. ``known`` is shared by
    the calibrators of one float graph.
    """

    samples: Callable[[], Iterable[Feed]]
    batchable: bool
    methods: Sequence[str]
    calibrated: bool = True
    model_digest: str = ""
    data_digest: str = ""
    on_plan: Callable[[CollectionPlan], None] | None = None
    on_progress: Callable[[int], None] | None = None
    known: Known = field(default_factory=Known)

    def tables(
        self, model: ir.Model, tensors: Mapping[str, NumberType], *, reaching: bool = False
    ) -> tuple[dict[str, CalibrationTable], dict[str, Reach]]:
        """Ranges of activations, name -> what their codes are, by every method and, where ``reaching``,
        where each sample's values end, from one pass over all samples: these are kept for every activation of every
        sample, so only where samples are few.
        """
        seen: dict[str, list[tuple[int, float, float, int]]] = {name: [] for name in tensors} if reaching else {}

        def see(tensor: str, sample: int, found: Observation) -> None:
            seen[tensor].append((sample, found.low, found.high, found.count))

        statistics = collect(
            model,
            list(tensors),
            self.samples(),
            batchable=self.batchable,
            on_plan=self.on_plan,
            on_progress=self.on_progress,
            on_seen=see if reaching else None,
        )
        tables = {
            method: choose_ranges(
                statistics,
                method,
                numbers=tensors,
                model_digest=self.model_digest,
                data_digest=self.data_digest,
                calibrated=self.calibrated,
            )
            for method in self.methods
        }
        return tables, {name: _reach(found, statistics.samples) for name, found in seen.items()}

    def extremes(self, model: ir.Model, axes: Mapping[str, int]) -> dict[str, tuple[Floats, Floats]]:
        """Least and largest value of every channel along ``axes``, over all samples: name -> two [channels]."""

        def find(new: list[tuple[str, int]]) -> Ends:
            needs = [StatisticNeeds(name, histogram=False, channel_axis=axis) for name, axis in new]
            found = collect(model, needs, self.samples(), batchable=self.batchable, on_progress=self.on_progress)
            return {name: _extremes(found[name].channels.values()) for name, _ in new}

        return self.known.ends(model, axes, find)


def _extremes(by_axis: Iterable[ChannelStatistics]) -> tuple[Floats, Floats]:
    (channels,) = by_axis
    return channels.minimum.astype(np.float32), channels.maximum.astype(np.float32)


def _reach(seen: Iterable[tuple[int, float, float, int]], samples: int) -> Reach:
    """Of (sample, least, largest value, how many)."""
    reach = Reach(np.zeros((samples, 2)))
    for sample, low, high, count in seen:
        reach.ends[sample] = low, high
        reach.values += count
    return reach
