"""``optimize deploy BUNDLE triton``: the repository written, and where asked proven on a Triton that runs it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from benchmarks.accuracy.task_metric import TaskMetric
from calibration.source import batches
from calibration.sources.open import open_source
from deployment.triton.check import (
    CLIENTS,
    ModelCheck,
    check_answers,
    check_loads,
    check_together,
)
from deployment.triton.config import RateLimit
from deployment.triton.control import ServerControl
from deployment.triton.local_server import local_server
from deployment.triton.models import PYTHON, ModelFolder, TritonOptions
from deployment.triton.repository import repository_files, write_triton_repository
from deployment.triton.served import served_engine
from deployment.triton.server_files import find_server
from deployment.triton.server_options import server_options
from engines.apart import open_apart
from engines.engine import EngineBase, Feed, TensorSpec
from engines.errors import BuildError, EngineElsewhere, EngineError
from engines.open import open_engine
from engines.portions import InPortions
from graphs.errors import BadInput, in_a_line
from optimizer.verbs.usual_inputs import random_inputs

SAMPLES = 32
"""Requests over each protocol: enough for the server to form batches of several sizes. Chosen."""
RANDOM = "random"
_REMOTE = re.compile(r"[\w.\-]+:\d+|\[[0-9A-Fa-f:]+\]:\d+")


@dataclass(frozen=True)
class CheckRequest:
    """How to prove what was written. ``server`` is a tritonserver's path, the ``HOST:PORT`` of one that serves the
    repository already (gRPC), or empty for the first found here; ``data`` are samples as the main job takes them;
    ``evaluate`` a task metric to score the engine and the server by."""

    server: str = ""
    data: str = RANDOM
    evaluate: str = ""


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


@dataclass(frozen=True)
class TritonDeployment:
    """``files`` of the repository; ``server`` is the version that checked it, empty where none was asked for."""

    repository: Path
    files: list[Path]
    models: list[ModelFolder]
    checks: list[Checked] = field(default_factory=list)
    server: str = ""

    @property
    def ok(self) -> bool:
        """Whether all that was checked holds; of several models at least one must have been."""
        return not self.checks or (
            all(check.ok for check in self.checks) and any(check.found is not None for check in self.checks)
        )


def deploy_triton(
    bundle: Path,
    out: Path,
    *,
    name: str,
    targets: Sequence[str] = (),
    options: TritonOptions | None = None,
    check: CheckRequest | None = None,
) -> TritonDeployment:
    """Write ``bundle``'s model repository to ``out`` and prove it where ``check`` says how.

    Raises what ``write_triton_repository`` refuses, ``BadInput`` where no server is found or data cannot be read, and
    ``EngineError`` where the server does not come up.
    """
    files_of_server = None
    if check is not None and not _REMOTE.fullmatch(check.server):
        files_of_server = find_server(check.server)  # said before anything is written
    models = write_triton_repository(bundle, out, name=name, targets=targets, options=options)
    deployment = TritonDeployment(out, repository_files(out, models), models)
    if check is None:
        return deployment
    with ExitStack() as stack:
        backends: tuple[str, ...] | None = None
        if files_of_server is not None:
            backends = files_of_server.backend_names
            control = stack.enter_context(local_server(files_of_server, out, server_options(m.config for m in models)))
        else:
            control = stack.enter_context(_remote(check.server))
        version = control.version()
        checks = [_check(bundle, model, control, check, backends) for model in models]
    return TritonDeployment(out, deployment.files, models, checks, version)


@contextmanager
def _remote(address: str) -> Iterator[ServerControl]:
    control = ServerControl(address)
    try:
        yield control
    finally:
        control.close()


def _check(
    bundle: Path, model: ModelFolder, control: ServerControl, request: CheckRequest, backends: Sequence[str] | None
) -> Checked:
    name = model.config.name
    if backends is not None and model.config.backend not in backends:
        has = ", ".join(backends) or "none"
        return Checked(
            name,
            skipped=f"this server has no {model.config.backend} backend, only {has}; --backend {PYTHON} runs the "
            "engine there",
        )
    try:
        with open_here(model) as engine:
            control.check_loaded(name)
            return _prove(bundle, model, engine, control, request)
    except EngineElsewhere as error:
        return Checked(name, skipped=in_a_line(error))
    except BuildError as error:  # the library that runs the engine is not here
        return Checked(name, skipped=in_a_line(error))
    except EngineError as error:
        return Checked(name, failure=in_a_line(error))


def open_here(model: ModelFolder) -> EngineBase:
    """The engine that ``model`` serves, run without Triton: a GPU's in a process of its own."""
    manifest = model.engine.manifest
    if manifest.backend != "onnxruntime":
        return open_apart(model.engine.folder)
    return InPortions(open_engine(model.engine.folder), manifest.profiles)


def _prove(
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
    loads = check_loads(engine, served, feeds)
    return Checked(name, ModelCheck(name, tuple(answers), loads, control.executions(name)), scored)


def _score(evaluate: str, engine: EngineBase, served: EngineBase) -> Scored:
    metric = TaskMetric.load(evaluate)
    own, found = metric.score(engine), metric.score(served)
    return Scored(own.metric, own.value, found.value, found.samples)


def sample_feeds(
    bundle: Path, model: ModelFolder, specs: tuple[TensorSpec, ...], data: str, samples: int = SAMPLES
) -> tuple[list[Feed], list[Feed]]:
    """``samples`` requests of one sample, and the same joined: a few of them, and the model's largest batch last; none
    where the model does not batch. Raises ``BadInput``."""
    known = random_inputs(model.engine.folder, bundle / "model.onnx") if data == RANDOM else {}
    largest = model.config.max_batch_size
    source = open_source(data, specs, samples=max(samples, largest), seed=0, **known)
    singles = list(islice(source.samples(), max(samples, largest)))
    while len(singles) < largest:  # few were given
        singles += singles[: largest - len(singles)]
    sizes = [size for size in dict.fromkeys((min(3, largest), largest)) if size > 1]
    joined = [next(batches(singles, size, specs)) for size in sizes]
    return [dict(sample) for sample in singles[:samples]], joined


def check_request(wanted: bool, server: str, data: str, evaluate: str) -> CheckRequest | None:
    """From the options of the command. Raises ``BadInput`` where an option of the check stands without it."""
    if wanted:
        return CheckRequest(server, data or RANDOM, evaluate)
    for option, value in (("--triton-server", server), ("--data", data), ("--evaluate", evaluate)):
        if value:
            raise BadInput("says how to check", where=option, fix="add --check")
    return None


def parse_rate_limit(text: str) -> RateLimit | None:
    """``"memory=2,bus=1:3"``: what an instance takes, and its priority (1 where none is given). Raises ``BadInput``."""
    if not text:
        return None
    named = r"[\w.-]+=[1-9]\d*"
    match = re.fullmatch(rf"(?P<resources>{named}(?:,{named})*)(?::(?P<priority>\d+))?", text)
    if match is None:
        raise BadInput(f"{text!r} cannot be read", where="--rate-limit", expected="NAME=COUNT[,NAME=COUNT][:PRIORITY]")
    pairs = (part.split("=") for part in match["resources"].split(","))
    return RateLimit({name: int(count) for name, count in pairs}, int(match["priority"] or 1))
