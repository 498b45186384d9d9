"""A served model beside the engine it came from: answers, a task metric, speed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from benchmarks.accuracy.task_metric import TaskMetric
from calibration.source import batches
from calibration.sources.open import open_source
from deployment.triton.repository.models import ModelFolder
from deployment.triton.repository.options import PYTHON
from deployment.triton.server.check import (
    CLIENTS,
    LOAD_SECONDS,
    ModelCheck,
    check_answers,
    check_loads,
    check_together,
)
from deployment.triton.server.control import ServerControl
from deployment.triton.server.served import served_engine
from engines.apart.opening import open_apart
from engines.engine import EngineBase, Feed, TensorSpec
from engines.errors import BuildError, EngineElsewhere, EngineError
from engines.feeds.portions import InPortions
from engines.open import open_engine
from graphs.errors import in_a_line
from optimizer.verbs.usual_inputs import random_inputs

SAMPLES = 32
"""Requests over each protocol: enough for the server to form batches of several sizes. Chosen."""
RANDOM = "random"


@dataclass(frozen=True)
class CheckRequest:
    """How to verify what was written. ``server`` is a tritonserver's path, the ``HOST:PORT`` of one that serves the
    repository already (gRPC), or empty for the first found here; ``data`` are samples as the main job takes them;
    ``evaluate`` a task metric to score the engine and the server by; ``seconds`` of each load."""

    server: str = ""
    data: str = RANDOM
    evaluate: str = ""
    seconds: float = LOAD_SECONDS


@dataclass(frozen=True)
class Scored:
    """A task metric of the engine itself and of what the server answered."""

    metric: str
    engine: float
    served: float
    samples: int


@dataclass(frozen=True)
class Checked:
    """One model: what was found, or why it was not looked at (``skipped``) or did not hold (``failure``)."""

    model: str
    found: ModelCheck | None = None
    scored: Scored | None = None
    skipped: str = ""
    failure: str = ""

    @property
    def ok(self) -> bool:
        """A model that was not looked at fails nothing."""
        return not self.failure and (self.found is None or self.found.ok)


def check_model(
    bundle: Path, model: ModelFolder, control: ServerControl, request: CheckRequest, backends: Sequence[str] | None
) -> Checked:
    """What the server makes of ``model``; ``backends`` are those it has, None where nobody knows."""
    name = model.config.name
    if lacking := lacks_backend(model, backends):
        return Checked(name, skipped=lacking)
    try:
        with open_here(model) as engine:
            for step in model.config.steps:  # an ensemble is not loaded because of one of these
                control.check_loaded(step.model)
            control.check_loaded(name)
            return _check(bundle, model, engine, control, request)
    except EngineElsewhere as error:
        return Checked(name, skipped=in_a_line(error))
    except BuildError as error:  # the library that runs the engine is not here
        return Checked(name, skipped=in_a_line(error))
    except EngineError as error:
        return Checked(name, failure=in_a_line(error))


def lacks_backend(model: ModelFolder, backends: Sequence[str] | None) -> str:
    """Why a server of these backends cannot load ``model``; empty where it can, or nobody knows."""
    if backends is None or model.config.backend in (*backends, "ensemble"):
        return ""
    has = ", ".join(backends) or "none"
    return f"this server has no {model.config.backend} backend, only {has}; --backend {PYTHON} runs the engine there"


def open_here(model: ModelFolder) -> EngineBase:
    """The engine that ``model`` serves, run without Triton: a GPU's in a process of its own."""
    manifest = model.engine.manifest
    if manifest.backend != "onnxruntime":
        engine = open_apart(model.engine.folder)
    else:
        engine = InPortions(open_engine(model.engine.folder), manifest.profiles)
    return model.pipeline.around(engine) if model.pipeline else engine


def _check(
    bundle: Path, model: ModelFolder, engine: EngineBase, control: ServerControl, request: CheckRequest
) -> Checked:
    name, largest = model.config.name, model.config.max_batch_size
    samples, joined = sample_feeds(bundle, model, engine.inputs, request.data)

    def served() -> EngineBase:
        return served_engine(control.grpc, name, engine, largest)

    with served() as over_grpc:
        answers = [check_answers(engine, over_grpc, [*samples, *joined], "gRPC")]
        if control.http:
            with served_engine(control.http, name, engine, largest, "http") as over_http:
                answers.append(check_answers(engine, over_http, [*samples, *joined], "HTTP"))
        answers.append(check_together(engine, served, samples[:CLIENTS], f"gRPC, {len(samples[:CLIENTS])} at once"))
        scored = _score(request.evaluate, engine, over_grpc) if request.evaluate else None
    feeds = [(1, samples[0]), *([(largest, joined[-1])] if joined else [])]
    loads = check_loads(engine, served, feeds, seconds=request.seconds)
    return Checked(name, ModelCheck(name, tuple(answers), loads, control.executions(name)), scored)


def _score(evaluate: str, engine: EngineBase, served: EngineBase) -> Scored:
    metric = TaskMetric.load(evaluate)
    own, found = metric.score(engine), metric.score(served)
    return Scored(own.metric, own.value, found.value, found.samples)


def _rows(raw: Feed, *, batched: bool) -> list[Feed]:
    rows = len(next(iter(raw.values()))) if batched else 0
    return [{name: array[row : row + 1] for name, array in raw.items()} for row in range(rows)] or [dict(raw)]


def sample_feeds(
    bundle: Path, model: ModelFolder, specs: tuple[TensorSpec, ...], data: str, samples: int = SAMPLES
) -> tuple[list[Feed], list[Feed]]:
    """``samples`` requests of one sample, and the same joined: a few of them, and the model's largest batch last; none
    where the model does not batch. Raises ``BadInput``."""
    largest = model.config.max_batch_size
    others: list[Feed] = []
    if model.pipeline is not None:
        singles = _rows(model.pipeline.raw, batched=bool(largest))
        others = [row for raw in model.pipeline.more for row in _rows(raw, batched=bool(largest))]
    else:
        known = random_inputs(model.engine.folder, bundle / "model.onnx") if data == RANDOM else {}
        source = open_source(data, specs, samples=max(samples, largest), seed=0, **known)
        singles = list(islice(source.samples(), max(samples, largest)))
    while len(singles) < largest:  # few were given
        singles += singles[: largest - len(singles)]
    sizes = [size for size in dict.fromkeys((min(3, largest), largest)) if size > 1]
    joined = [next(batches(singles, size, specs)) for size in sizes]
    return [dict(sample) for sample in (singles[:1] + others + singles[1:])[:samples]], joined
