"""Builds ended by SIGKILL at random moments, the parent or the builder: what is left must be whole or nothing.

After every kill the output folder, the cache and the leftovers are looked at, and the same build is made again: it must
end well, and its plan must be byte for byte the one an undisturbed build gives.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from engines.cache.plans import EngineCache
from engines.manifest import EngineManifest, check_digest
from graphs.errors import EnginewrightError

Victim: TypeAlias = Literal["parent early", "parent", "builder"]
"""``parent early`` is killed anywhere in its life, the other two once the builder runs."""
_BUILD = """
import sys
from pathlib import Path
from engines.build import BuildRequest, build_engine
from engines.profile import ShapeProfile, ShapeRange
from engines.targets.target import TARGETS
rows = ShapeRange((1, 256), (8, 256), (32, 256))
request = BuildRequest(Path(sys.argv[1]), TARGETS["a100"], ShapeProfile({"x": rows}), Path(sys.argv[2]), "fp32")
try:
    build_engine(request)
except Exception as error:
    sys.exit(f"{type(error).__name__}: {error}")
"""


@dataclass
class KillReport:
    """What happened: ``killed`` per victim and where the build was, ``finished`` builds that were faster than the kill,
    ``wrong`` everything that must not be, in words."""

    seed: int
    kills: int = 0
    killed: Counter[str] = field(default_factory=Counter)
    finished: int = 0
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def __str__(self) -> str:
        found = ", ".join(f"{count} x {name}" for name, count in sorted(self.killed.items()))
        wrong = (
            "\n".join(f"WRONG: {text}" for text in self.wrong)
            or "no wrong or partial engine was left, cached or loaded"
        )
        head = f"{self.kills} builds, seed {self.seed}, {self.seconds:.0f} s"
        return f"{head}: killed {found}; {self.finished} ended before the kill\n{wrong}"


def run_kills(kills: int, seed: int, folder: Path, say: Callable[[str], None] = lambda text: None) -> KillReport:
    """Kill ``kills`` builds at moments drawn with ``seed``; everything happens in ``folder``."""
    started = time.perf_counter()
    draw, report = random.Random(seed), KillReport(seed)
    model, cache = folder / "model.onnx", folder / "cache"
    _save_model(model)
    truth, usual = _undisturbed(model, folder)
    for number in range(kills):
        victim: Victim = draw.choice(("parent early", "parent", "parent", "builder", "builder"))
        EngineCache(cache).clear()
        moment = draw.uniform(0.02, 1.05) * usual[victim]
        _one(_Attempt(model, folder / "engines" / "a100", cache, truth, victim, moment), report)
        report.kills += 1
        if (number + 1) % 10 == 0:
            say(f"{number + 1} of {kills}: {len(report.wrong)} wrong")
    report.seconds = time.perf_counter() - started
    return report


def _save_model(path: Path) -> None:
    """Eight products with distinct weights: a build of one to two seconds."""
    generator, nodes, weights, data = np.random.default_rng(0), [], [], "x"
    for index in range(8):
        values = generator.standard_normal((256, 256), dtype=np.float32) / np.float32(16)
        weights.append(numpy_helper.from_array(values, f"w{index}"))
        nodes.append(helper.make_node("MatMul", [data, f"w{index}"], [f"m{index}"], name=f"fc{index}"))
        data = "y" if index == 7 else f"r{index}"
        nodes.append(helper.make_node("Relu", [f"m{index}"], [data], name=f"act{index}"))
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", 256]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())


def _start(model: Path, out: Path, cache: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _BUILD, str(model), str(out)],
        env={**os.environ, "ENGINEWRIGHT_CACHE": str(cache)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def _undisturbed(model: Path, folder: Path) -> tuple[str, dict[Victim, float]]:
    """Digest of the plan that an undisturbed build gives, and the seconds in which each victim may be killed."""
    started = time.perf_counter()
    with _start(model, folder / "truth", folder / "truth-cache") as building:
        _wait_for_builder(building)
        built = time.perf_counter()
        _, errors = building.communicate()
    if building.returncode != 0:
        raise RuntimeError(f"the build fails undisturbed: {errors}")
    ended = time.perf_counter()
    usual: dict[Victim, float] = {"parent early": ended - started, "parent": ended - built, "builder": ended - built}
    return EngineManifest.load(folder / "truth").file_digest, usual


def _wait_for_builder(building: subprocess.Popen[str]) -> None:
    while building.poll() is None and not _children(building.pid):
        time.sleep(0.005)


@dataclass(frozen=True)
class _Attempt:
    model: Path
    out: Path
    cache: Path
    truth: str
    victim: Victim
    moment: float


def _one(attempt: _Attempt, report: KillReport) -> None:
    with _start(attempt.model, attempt.out, attempt.cache) as building:
        if attempt.victim != "parent early":
            _wait_for_builder(building)
        time.sleep(attempt.moment)
        children = _children(building.pid)
        if building.poll() is not None:
            report.finished += 1
        elif attempt.victim != "builder" or not children:
            building.kill()
            report.killed["parent alone" if not children else "parent while its builder ran"] += 1
        else:
            os.kill(children[0], signal.SIGKILL)
            report.killed["builder"] += 1
        _, errors = building.communicate()
    _check_after(attempt, report, errors, children)
    _check_again(attempt, report)


def _check_after(attempt: _Attempt, report: KillReport, errors: str, children: list[int]) -> None:
    """Right after the kill: no builder lives on, what is visible is whole, the error is one of ours."""
    if "Traceback" in errors:
        report.wrong.append(f"a traceback instead of an error: {errors[-300:]}")
    if not _gone(children):
        report.wrong.append("the builder outlived its parent")
    _check_engine(attempt.out, attempt.truth, report, "the output folder", missing_is_fine=True)
    engines = attempt.cache / "engines"
    for entry in engines.iterdir() if engines.is_dir() else ():
        if not entry.name.startswith("."):
            _check_engine(entry, attempt.truth, report, "a cache entry", missing_is_fine=True)


def _check_engine(folder: Path, truth: str, report: KillReport, what: str, *, missing_is_fine: bool) -> None:
    if not folder.exists() and missing_is_fine:
        return
    try:
        manifest = EngineManifest.load(folder)
        check_digest(manifest, folder)
    except EnginewrightError as error:
        report.wrong.append(f"{what} is partial: {error}")
        return
    if manifest.file_digest != truth:
        report.wrong.append(f"{what} holds another engine than an undisturbed build gives")


def _check_again(attempt: _Attempt, report: KillReport) -> None:
    """The same build again ends well with the right plan, and clears up what the killed one left."""
    with _start(attempt.model, attempt.out, attempt.cache) as building:
        _, errors = building.communicate()
    if building.returncode != 0:
        report.wrong.append(f"the build after the kill fails: {errors[-300:]}")
        return
    _check_engine(attempt.out, attempt.truth, report, "the engine built after the kill", missing_is_fine=False)
    left = [path.name for path in attempt.out.parent.iterdir() if path.name.startswith(".")]
    left += [path.name for path in (attempt.cache / "engines").glob(".*")]
    if left:
        report.wrong.append(f"left behind: {', '.join(left)}")


def _children(process: int) -> list[int]:
    try:
        text = Path(f"/proc/{process}/task/{process}/children").read_text()
    except OSError:
        return []
    return [int(word) for word in text.split()]


def _gone(processes: list[int], seconds: float = 5.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not any(_lives(process) for process in processes):
            return True
        time.sleep(0.02)
    return False


def _lives(process: int) -> bool:
    """Whether it runs: a zombie that nobody has waited for does not."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
