"""One model through the whole product in a process of its own, and what an independent judge finds of it.

A process each, because native code may crash, hang or exhaust memory; what happens then is a row, not the end.
"""

from __future__ import annotations

import json
import math
import os
import signal
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from engines.targets.target import CPU, Target
from optimizer.stages.engines.build import BuildOutcome
from studies.breadth import judge
from studies.breadth.row import Outcome, Row
from studies.breadth.verdict import Judged, verdict


@dataclass(frozen=True)
class Trial:
    """What to try: a model, data to calibrate with, feeds to check and judge with, and how.

    ``limit_s`` is the most the product may take; ``real_types`` judges with ``onnx.reference``, which is slow on
    networks of millions of operations. ``cpu_form`` is what the CPU's engine ships in. ``quick`` leaves out what says
    nothing of the numbers: plans, the page, the memory measurement, and most of the time spent on latency.
    """

    study: str
    kind: str
    name: str
    model: Path
    data: Path
    held: Path
    feeds: Sequence[judge.Feed]
    precision: str = "int8"
    targets: tuple[str, ...] = ("cpu", "t4")
    limit_s: float = 240.0
    real_types: bool = True
    cpu_form: str = "auto"
    quick: bool = False


_USED = ("peak_mb", "cpu_seconds")


def warm_up() -> None:
    """Import what every child would import on its own."""
    import onnx.reference  # noqa: F401

    import optimizer.pipeline
    import optimizer.stages.chain  # noqa: F401


def run(trial: Trial) -> Row:
    """Run the product, judge what it left, and give the row."""
    row = Row(trial.study, trial.kind, trial.name, Outcome.CRASHED, precision=trial.precision)
    with tempfile.TemporaryDirectory(prefix="breadth-") as work:
        out = Path(work) / "bundle"
        began = time.monotonic()
        ended = in_child(lambda: _optimize(trial, out), trial.limit_s, Path(work) / "optimize.json")
        row = replace(
            row,
            seconds=round(time.monotonic() - began, 1),
            cpu_seconds=ended.pop("cpu_seconds", 0.0),
            peak_mb=ended.pop("peak_mb", 0),
        )
        if "crash" in ended:
            return replace(row, reason=ended["crash"])
        if "refused" in ended:
            return replace(row, outcome=Outcome.REFUSED, reason=ended["refused"])
        report = json.loads((out / "report.json").read_text())
        found = in_child(lambda: _judged(trial, out), 4 * trial.limit_s, Path(work) / "judge.json")
        row = replace(row, notes=[*ended["notes"], *_omitted(out)])
        if "crash" in found:
            return replace(row, reason=f"what it left cannot be judged: {found['crash']}")
        return verdict(row, report, Judged(**{k: v for k, v in found.items() if k not in _USED}))


def _optimize(trial: Trial, out: Path) -> dict[str, Any]:
    from graphs.errors import BadInput, EnginewrightError, in_a_line
    from optimizer import optimize

    own_cache(out.parent)
    if trial.quick:
        leave_out_measurements()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            optimize(
                trial.model,
                out=out,
                precision=trial.precision,
                data=str(trial.data),
                eval_data=str(trial.held),
                targets=list(trial.targets),
                loadgen=(),
                max_drop=0.2,
                jobs=1,
                cpu_form=trial.cpu_form,
            )
        except BadInput as error:
            return {"refused": in_a_line(error)}
        except EnginewrightError as error:
            return {"crash": f"exit {error.exit_code}: {in_a_line(error)}"}
    found = {f"{w.category.__name__}: {w.message}" for w in caught if issubclass(w.category, RuntimeWarning)}
    return {"notes": sorted(found)}


def own_cache(folder: Path) -> None:
    """In this process, take nothing from earlier runs: seconds are of the whole way, whatever was tried before."""
    os.environ["ENGINEWRIGHT_CACHE"] = str(folder / "cache")


def leave_out_measurements(*, plans: bool = False) -> None:
    """In this process, which ends with the trial. GPU targets have their graph typed and checked, and no plan built
    unless ``plans``.
    """
    import benchmarks.timing.latency as latency
    import optimizer.stages.chain as chain
    import optimizer.stages.engines.cpu as cpu
    import optimizer.stages.engines.cpu_engine as cpu_engine
    import optimizer.stages.report.publish as publish

    cpu.SECONDS = latency.BURST_SECONDS = 0.002
    vars(cpu_engine)["engine_memory"] = lambda *_, **__: None
    if not plans:
        vars(chain)["build_targets"] = _no_plans
    vars(publish)["render_page"] = lambda *_, **__: ""


def _no_plans(_: Path, targets: Sequence[Target], *__: object, **___: object) -> list[BuildOutcome]:
    """As if every GPU's plan had been built: of a target that is refused nothing would be claimed."""
    gpus = [target.name for target in targets if target.name != CPU.name]
    return [BuildOutcome(name, f"engines/{name}/engine.plan", None, None, "tensorrt") for name in gpus]


def _judged(trial: Trial, out: Path) -> dict[str, Any]:
    wanted = _reference(trial)
    made = out / "model.onnx"
    if trial.real_types:
        typed, by = judge.in_real_types(trial.model, made, trial.feeds, wanted)
    else:
        typed, by = judge.sqnr_db(wanted, judge.run_onnxruntime(made, trial.feeds, simulated=True)), "onnxruntime"
    cpu_model = out / "engines" / "cpu" / "model.onnx"
    cpu_answers = _cpu_answers(cpu_model, trial.feeds) if cpu_model.exists() else None
    plain, refused = _plain(made, trial.feeds, wanted)
    return {
        "plain": _bounded(plain),
        "plain_refused": refused,
        "typed": _bounded(typed),
        "typed_by": by,
        "cpu": _bounded(judge.sqnr_db(wanted, cpu_answers)) if cpu_answers else {},
        "least_float_db": judge.least_float_db(trial.model, trial.feeds, wanted),
        "integers": judge.same_integers(wanted, cpu_answers) if cpu_answers else {},
    }


def _plain(made: Path, feeds: Sequence[judge.Feed], wanted: judge.Answers) -> tuple[dict[str, float], str]:
    """What ONNX Runtime's default session makes of ``model.onnx``, which is for GPUs, or why it does not run it."""
    try:
        return judge.sqnr_db(wanted, judge.run_onnxruntime(made, feeds)), ""
    except Exception as error:  # whatever ONNX Runtime raises, it is what a user would see
        return {}, " ".join(str(error).split())[:200]


def _cpu_answers(model: Path, feeds: Sequence[judge.Feed]) -> judge.Answers | None:
    """None where plain ONNX Runtime lacks a kernel, as it does for most operators in bfloat16."""
    try:
        return judge.run_onnxruntime(model, feeds)
    except Exception as error:
        if "NOT_IMPLEMENTED" in str(error):
            return None
        raise


def _reference(trial: Trial) -> judge.Answers:
    try:
        return judge.run_onnxruntime(trial.model, trial.feeds)
    except Exception:  # types that ONNX Runtime has no kernels for (bfloat16)
        return judge.run_reference(trial.model, trial.feeds)


def _bounded(found: dict[str, float]) -> dict[str, float]:
    """Within ±999 dB: JSON has no infinity."""
    return {name: max(min(db, 999.0), -999.0) if not math.isnan(db) else -999.0 for name, db in found.items()}


def _omitted(out: Path) -> list[str]:
    """Optional steps that the product left out because they failed."""
    plan = json.loads((out / "precision.json").read_text())
    return [note for note in plan.get("notes", []) if note.startswith("left out: ")]


def in_child(work: Callable[[], dict[str, Any]], limit_s: float, result: Path) -> dict[str, Any]:
    """``work()`` in a forked process, its ``peak_mb`` and ``cpu_seconds`` added; ``{"crash": …}`` where it raised, died
    or did not end.
    """
    child = os.fork()
    if child == 0:
        _work(work, result)
    ended = _waited(child, limit_s)
    if ended is None:
        return {"crash": f"no end within {limit_s:.0f} s"}
    status, usage = ended
    if not result.exists():
        return {"crash": f"the process was ended by {signal.Signals(os.WTERMSIG(status)).name}"}
    found: dict[str, Any] = json.loads(result.read_text())
    return found | {"peak_mb": usage.ru_maxrss // 1024, "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1)}


def _work(work: Callable[[], dict[str, Any]], result: Path) -> None:
    os.setsid()
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    try:
        found = work()
    except BaseException as error:  # the row must say what it was, whatever it was
        frames = traceback.extract_tb(error.__traceback__)
        own = next((f for f in reversed(frames) if "site-packages" not in f.filename), frames[-1])
        at = f"{Path(own.filename).name}:{own.lineno} in {own.name}"
        found = {"crash": f"{type(error).__name__}: {' '.join(str(error).split())[:300]} ({at})"}
    result.write_text(json.dumps(found))
    os._exit(0)


def _waited(child: int, limit_s: float) -> tuple[int, Any] | None:
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        pid, status, usage = os.wait4(child, os.WNOHANG)
        if pid:
            return status, usage
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None
