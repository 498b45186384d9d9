"""``optimize fleet``: the main job for many models, their engines built here or on a cluster."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deployment.fleet.ray_cluster import RayCluster
from engines.targets.gpus_here import targets_named
from graphs.errors import BadInput, EnginewrightError
from graphs.files import unwritable, write_json
from optimizer.bundle import SUFFIX
from optimizer.events import Listener
from optimizer.main_job import optimize
from optimizer.result import EXIT_CODES
from optimizer.settings.default_targets import default_targets
from optimizer.settings.job import Settings

if TYPE_CHECKING:
    from rich.console import Console

SUMMARY = "fleet.json"
MODEL_NAME = "{model}"
"""Stands for a model's name, without its suffix, in the options that differ from model to model."""
PER_MODEL = ("data", "eval_data", "evaluate")


@dataclass(frozen=True)
class FleetModel:
    """What became of one model: its ``bundle`` in the fleet's folder and the report's ``status``, or the ``error`` in
    its place. ``engines`` say of each target what there is, ``skipped`` why of some there is none. ``exit_code`` is
    what its job would have ended with.
    """

    model: str
    bundle: str | None
    status: str
    engines: dict[str, str]
    seconds: float
    error: str = ""
    exit_code: int = 0
    skipped: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Fleet:
    """Every model in the order given. ``cluster`` is where engines were built, empty for this machine."""

    models: list[FleetModel]
    targets: list[str]
    cluster: str = ""

    @property
    def exit_code(self) -> int:
        """The gravest of the jobs': 1 and 2 where a model has no bundle, 4 where engines are missing, 3 where a budget
        is not met.
        """
        found = {row.exit_code for row in self.models}
        return next((code for code in (1, 2, 4, 3) if code in found), 0)


def run_fleet(
    models: Sequence[Path],
    settings: Settings,
    out: Path,
    *,
    ray: str = "",
    force: bool = False,
    listeners: Callable[[Path], Sequence[Listener]] = lambda _: (),
) -> Fleet:
    """Optimize every model into ``out/NAME.optimized``, one after the other; the engines of each are built at the same
    time, on the Ray cluster ``ray`` where one is given. A model that fails does not end the others.

    Raises ``BadInput`` before any work for models of one name, and for targets that no node can build for.
    """
    names = _names(models)
    targets = settings.targets or default_targets(warn=lambda _: None)
    with RayCluster(ray) if ray else _here() as cluster:
        if cluster is not None:
            cluster.check(targets_named(targets))
        _make(out)
        rows = []
        for model, name in zip(models, names, strict=True):
            started = time.perf_counter()
            folder = out / f"{name}{SUFFIX}"
            try:
                result = optimize(
                    model,
                    settings=_for_model(settings, name),
                    out=folder,
                    force=force,
                    listeners=listeners(model),
                    builder=cluster.build if cluster is not None else None,
                )
            except EnginewrightError as error:
                seconds = time.perf_counter() - started
                rows.append(FleetModel(str(model), None, "failed", {}, seconds, str(error), error.exit_code))
                continue
            report, seconds = result.report, time.perf_counter() - started
            engines: dict[str, str] = {target: found.status for target, found in report.targets.items()}
            code = EXIT_CODES[report.status]
            skipped = {target: found.reason for target, found in report.targets.items() if found.status == "skipped"}
            rows.append(FleetModel(str(model), folder.name, report.status, engines, seconds, "", code, skipped))
    fleet = Fleet(rows, list(targets), ray)
    try:
        write_json(out / SUMMARY, fleet)
    except OSError as error:
        raise unwritable(out, error) from None
    return fleet


def _make(out: Path) -> None:
    """Raises ``BadInput`` where no folder can be, before models are worked on."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(out, error) from None


def _here() -> AbstractContextManager[RayCluster | None]:
    return nullcontext()


def _names(models: Sequence[Path]) -> list[str]:
    """Of the bundles: file names without suffix, where a folder is what tells two apart with its name before."""
    if same := [str(model) for model, count in Counter(map(Path.absolute, models)).items() if count > 1]:
        raise BadInput("given twice", where=same[0], fix="leave one out")
    stems = [model.stem for model in models]
    twice = {stem for stem, count in Counter(stems).items() if count > 1}
    names = [f"{m.absolute().parent.name}-{m.stem}" if m.stem in twice else m.stem for m in models]
    if again := [name for name, count in Counter(names).items() if count > 1]:
        raise BadInput(f"two models would be called {again[0]!r}", where="fleet", fix="rename one")
    return names


def _for_model(settings: Settings, name: str) -> Settings:
    given = {field: getattr(settings, field) for field in PER_MODEL}
    named: dict[str, Any] = {
        field: value.replace(MODEL_NAME, name) for field, value in given.items() if isinstance(value, str)
    }
    return replace(settings, **named)


def render(fleet: Fleet, console: Console) -> None:
    """Print a row for each model, why engines are missing, and the errors whole."""
    from rich.table import Table

    table = Table("model", "status", *fleet.targets, "seconds", box=None, pad_edge=False)
    for row in fleet.models:
        built = [row.engines.get(target, "–") for target in fleet.targets]
        table.add_row(row.model, row.status, *built, f"{row.seconds:.1f}")
    console.print(table)
    for row in fleet.models:
        for target, why in row.skipped.items():
            console.print(f"{row.model}: no engine for {target}: {why}", markup=False, soft_wrap=True)
        if row.error:
            first, *rest = row.error.removeprefix(f"{row.model}: ").splitlines()
            lines = [f"{row.model}: {first}", *(f"  {line}" for line in rest)]
            console.print("\n".join(lines), style="red", markup=False, soft_wrap=True)
