"""Build a plan in a child process: progress, limits, cancelling, and crashes that stay the child's own."""

from __future__ import annotations

import os
import selectors
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from engines.errors import BuildError, BuildFailure
from engines.processes.child_process import Child, how_it_ended
from engines.processes.lifetime import kernel_kills
from engines.progress import BuildProgress, OnProgress
from engines.tensorrt.builder.child import RESULT_NAME
from engines.tensorrt.builder.exits import INSPECTING, Ending, ending_error, last_node, read_tail
from engines.tensorrt.builder.request import PlanBuilt, PlanOutcome, PlanRequest, StepDone
from graphs.files import read_json, write_json

_TICK_S = 0.2  # seconds between looks at limits and at whoever wants the build stopped
"""Seconds between looks at limits and at a request to stop. Chosen."""
_STDERR_BYTES = 8192  # of the child's standard error, the end of it: where a crash says why
"""How much of the end of what the child printed is kept. Chosen."""
_CHILD = "engines.tensorrt.builder.child"


@dataclass(frozen=True)
class Limits:
    """What a build may use: wall time in seconds, memory in MiB (the child's own pages, mapped weights not counted)."""

    time_s: float | None = None
    memory_mb: int | None = None


def build_in_child(
    request: PlanRequest, *, limits: Limits | None = None, on_progress: OnProgress | None = None
) -> PlanBuilt:
    """Build ``request.plan`` in a process of its own; the file appears complete or not at all.

    Raises what the child's build raised, and ``BuildError`` with ``TIMEOUT``, ``OUT_OF_MEMORY`` or ``CRASH``. Any
    exception on the way here, ``KeyboardInterrupt`` included, kills the child before it goes on.
    """
    plan = Path(request.plan)
    with tempfile.TemporaryDirectory(dir=plan.parent, prefix=".plan-") as work:
        partial = Path(work) / plan.name
        request_file = Path(work) / "request.json"
        write_json(request_file, replace(request, plan=str(partial)))
        with _Builder(request_file) as child:
            _follow(child, limits or Limits(), on_progress or (lambda _: None))
            outcome = _outcome(child, Path(work) / RESULT_NAME)
        if outcome.built is None:
            assert outcome.failed is not None, "a result is one of the two"
            raise outcome.failed.error()
        for file in Path(work).glob("*.log.gz"):
            file.replace(plan.with_name(file.name))
        partial.replace(plan)
    return outcome.built


class _Builder(Child):
    """A builder at work."""

    def __init__(self, request_file: Path) -> None:
        self.stage = "starting"
        self.folder = request_file.parent
        self.kills_before = kernel_kills()
        self.error_text = b""
        super().__init__(_CHILD, str(request_file))

    def steps(self) -> Iterator[StepDone | None]:
        """Steps as they come, None at every tick without one, until the child has closed both its streams."""
        assert self.process.stdout is not None and self.process.stderr is not None
        pending = b""
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            selector.register(self.process.stderr, selectors.EVENT_READ)
            while selector.get_map():
                ready = selector.select(_TICK_S)
                for key, _ in ready:
                    chunk = os.read(key.fd, 65536)
                    if not chunk:
                        selector.unregister(key.fileobj)
                    elif key.fileobj is self.process.stderr:
                        self.error_text = (self.error_text + chunk)[-_STDERR_BYTES:]
                    else:
                        *lines, pending = (pending + chunk).split(b"\n")
                        yield from (msgspec.json.decode(line, type=StepDone) for line in lines)
                if not ready:
                    yield None

    def memory_mb(self) -> float:
        """Anonymous resident memory of the child now, MiB; 0 where the system does not tell."""
        try:
            status = Path(f"/proc/{self.process.pid}/status").read_text()
        except OSError:
            return 0.0
        return next((int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("RssAnon:")), 0.0)


def _follow(child: _Builder, limits: Limits, on_progress: OnProgress) -> None:
    started = time.monotonic()
    step = StepDone(child.stage)
    on_progress(BuildProgress(step.stage, 0.0))
    for news in child.steps():
        elapsed = time.monotonic() - started
        step = news or step
        child.stage = step.stage
        on_progress(BuildProgress(step.stage, elapsed, step.done, step.total or None))
        _check_limits(child, limits, elapsed)
    child.process.wait()


def _check_limits(child: _Builder, limits: Limits, elapsed: float) -> None:
    if limits.time_s is not None and elapsed > limits.time_s:
        raise BuildError(
            BuildFailure.TIMEOUT,
            f"stopped after {elapsed:.0f} s while {child.stage}",
            where=last_node(read_tail(child.folder), child.stage),
            expected=f"a build within {limits.time_s:g} s",
            fix="raise --build-time-limit, or lower --optimization-level",
        )
    if limits.memory_mb is not None and (used := child.memory_mb()) > limits.memory_mb:
        raise BuildError(
            BuildFailure.OUT_OF_MEMORY,
            f"stopped at {used:.0f} MiB while {child.stage}",
            where=last_node(read_tail(child.folder), child.stage),
            expected=f"a build within {limits.memory_mb} MiB",
            fix="raise --build-memory-limit; a build takes about three times the model's size",
        )


def _outcome(child: _Builder, result_file: Path) -> PlanOutcome:
    code = child.process.returncode
    if code == 0 and result_file.exists():
        return read_json(result_file, PlanOutcome)
    if child.stage == INSPECTING and result_file.exists():
        outcome = read_json(result_file, PlanOutcome)
        assert outcome.built is not None, "kept when there was a plan"
        remark = f"the layer table is the build log's: the builder {how_it_ended(code)} while {INSPECTING}"
        return replace(outcome, built=replace(outcome.built, remarks=(*outcome.built.remarks, remark)))
    raise ending_error(
        Ending(
            code=code,
            stage=child.stage,
            errors=child.error_text.decode(errors="replace"),
            kernel_killed=kernel_kills() > child.kills_before,
            log=read_tail(child.folder),
        )
    )
