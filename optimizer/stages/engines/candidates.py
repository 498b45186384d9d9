"""The forms that an engine of the GPU here could ship in: the one asked for and its more precise siblings, built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from calibration.table import CalibrationTable
from engines.build import BuildProgress, build_engine
from engines.errors import BuildError, BuildFailure
from engines.targets.target import Target
from graphs.errors import in_a_line
from optimizer.events import Detail, Events
from optimizer.precision import PrecisionPlan
from optimizer.stages.engines.build import BuildOutcome, Terms
from optimizer.stages.forms.lowering import readable
from optimizer.stages.forms.siblings import SiblingGraph
from optimizer.stages.forms.typed_forms import TypedForm


@dataclass(frozen=True)
class Candidate:
    """One form: its typed graph at ``path`` with plan, share and ranges, and the folder of its ``engine``."""

    path: Path
    plan: PrecisionPlan
    int8_mac_share: float
    table: CalibrationTable | None
    engine: Path


@dataclass(frozen=True)
class Candidates:
    """By precision, the most precise first and the one ``asked`` for, of which ``plan`` is, last; ``refused`` says of a
    form why it has no engine.
    """

    asked: str
    plan: PrecisionPlan
    built: dict[str, Candidate]
    refused: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Built:
    """Engines of siblings, in folders named after their precision; ``refused`` says why another has none."""

    names: list[str]
    refused: dict[str, str]


def build_siblings(
    target: Target, graphs: Mapping[str, SiblingGraph], terms: Terms, folder: Path, stage: str, events: Events
) -> Built:
    """Build every sibling's engine into ``folder``, one after the other: builders time kernels on the GPU. One that
    cannot be built costs the comparison with it, and a warning.
    """
    names, refused = list[str](), dict[str, str]()
    for name, graph in graphs.items():

        def show(progress: BuildProgress, name: str = name) -> None:
            events.emit(Detail(stage, f"{target.name} in {name}: {progress.stage}  {progress.elapsed_s:.0f} s"))

        try:
            with readable(terms.request(target, graph.path, folder / name, name), terms.held_back, events) as request:
                build_engine(request, show)
            names.append(name)
        except BuildError as error:
            if error.failure is BuildFailure.CANCELLED:
                raise
            refused[name] = in_a_line(error)
            events.warn(stage, f"{target.name}: no {name.upper()} engine to compare with: {refused[name]}")
    return Built(names, refused)


def candidates(
    outcome: BuildOutcome,
    typed: TypedForm,
    engine: Path,
    graphs: Mapping[str, SiblingGraph],
    built: Built,
    folder: Path,
) -> Candidates:
    """What there is to choose from. ``outcome`` is of the form asked for, whose engine lies in ``engine`` where it
    could be built; the siblings' lie in ``folder``.
    """
    asked = typed.plan.computes_in
    found = {
        name: Candidate(graphs[name].path, graphs[name].plan, graphs[name].int8_mac_share, None, folder / name)
        for name in built.names
    }
    if outcome.engine is None:
        why = f"{asked.upper()} could not be built: {'; '.join(outcome.reason.splitlines())}"
        return Candidates(asked, typed.plan, found, {**built.refused, asked: why})
    found[asked] = Candidate(typed.path, typed.plan, typed.int8_mac_share, typed.table, engine)
    return Candidates(asked, typed.plan, found, built.refused)
