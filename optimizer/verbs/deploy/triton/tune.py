"""The search on a running server, and what it leaves: the configuration rewritten, and every trial beside it."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from deployment.triton.repository.models import ModelFolder
from deployment.triton.repository.write import write_config
from deployment.triton.server.check import CLIENTS
from deployment.triton.server.control import ServerControl
from deployment.triton.server.served import served_engine
from deployment.triton.tuning.search import Goal, Tuning, tune
from deployment.triton.tuning.tuned_config import limits_of, measured, tuned, values_of
from engines.errors import BuildError, EngineElsewhere
from graphs.files import write_json
from optimizer.verbs.deploy.triton.checking import CheckRequest, lacks_backend, open_here, sample_feeds

TRACE = "tuning.json"
"""Beside ``config.pbtxt``: Triton reads folders of versions and that file, and leaves others alone."""


@dataclass(frozen=True)
class TuneRequest:
    """``latency_bound_ms`` on p99, None for none; ``clients`` have one request in flight each; ``seconds`` for the
    search of each model."""

    goal: Goal
    latency_bound_ms: float | None = None
    clients: int = CLIENTS
    seconds: float = 60.0


def tune_model(
    bundle: Path,
    repository: Path,
    model: ModelFolder,
    control: ServerControl,
    check: CheckRequest,
    request: TuneRequest,
    backends: Sequence[str] | None,
) -> tuple[ModelFolder, Tuning | None]:
    """``model`` with the configuration that was found best, written and loaded; and the search, None where its engine
    does not run here. Raises ``EngineError`` where the server does not load it."""
    if model.part or model.pipeline is not None or lacks_backend(model, backends):
        return model, None
    name = model.config.name
    try:
        with open_here(model) as engine:
            control.check_loaded(name)
            samples, _ = sample_feeds(bundle, model, engine.inputs, check.data)
            measure = measured(
                model.config,
                control,
                lambda: served_engine(control.grpc, name, engine, model.config.max_batch_size),
                samples,
                clients=request.clients,
                latency_bound_ms=request.latency_bound_ms,
            )
            found = tune(
                measure,
                values_of(model.config),
                limits_of(model.config),
                request.goal,
                clients=request.clients,
                latency_bound_ms=request.latency_bound_ms,
                seconds=request.seconds,
            )
    except (EngineElsewhere, BuildError):  # the check says so
        return model, None
    found = replace(found, server=control.version())
    said = f"Found by --optimize-for {request.goal.value} on tritonserver {found.server}: {found.text}."
    lines = tuple(textwrap.wrap(said, 110))
    config = tuned(model.config, found.chosen.values, f"searched: {TRACE}")
    chosen = replace(model, config=config, comment=(*model.comment, *lines))
    write_config(repository / name, chosen)
    write_json(repository / name / TRACE, found)
    control.load(name)
    return chosen, found


def within_its_steps(
    repository: Path, model: ModelFolder, models: Sequence[ModelFolder], control: ServerControl
) -> ModelFolder:
    """``model``; an ensemble taking no more samples at once than each of ``models`` that are its steps, written and
    loaded: Triton loads no other, and a search may have chosen smaller batches for its engine."""
    largest = {each.config.name: each.config.max_batch_size for each in models}
    most = min((largest[step.model] for step in model.config.steps), default=model.config.max_batch_size)
    if model.config.max_batch_size <= most:
        return model
    smaller = replace(model, config=replace(model.config, max_batch_size=most))
    write_config(repository / model.config.name, smaller)
    control.load(model.config.name)
    return smaller
