"""Stages run once: taken up after a kill, taken from another job's, never from one that read something else."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest

import optimizer.stages.runner as runner
from engines.cache.stages import StageCache
from engines.parallel import side_by_side
from optimizer.bundle import Workspace
from optimizer.events import Event, Events, Note, StageResumed
from optimizer.stages.runner import Stage, StageRunner


@dataclass(frozen=True)
class Left:
    number: float
    graph: Path


STAGE = Stage("calibrate", "calibrate", Left, "key", shared=True)
MEASURED = Stage("measure", "measure", Left, "key")


class Place:
    """A job's folder, and how often its stages really ran."""

    def __init__(self, out: Path, cache: Path) -> None:
        self.out, self.cache, self.ran = out, cache, 0
        self.resumed: list[str] = []
        self.events = Events(self._listen)

    def _listen(self, event: Event) -> None:
        if isinstance(event, StageResumed):
            self.resumed.append(event.stage)

    def run(self, stage: Stage[Left], job: str = "job", *, fails: bool = False, afresh: bool = False) -> Left:
        workspace = Workspace(self.out, job)

        def work(folder: Path) -> Left:
            self.ran += 1
            (folder / "graph.onnx").write_bytes(b"graph")
            self.events.warn(stage.name, "ranges are narrow")
            if fails:
                raise KeyboardInterrupt
            return Left(float("inf"), folder / "graph.onnx")

        with workspace.opened(force=afresh):
            return StageRunner(workspace, self.events, StageCache(self.cache), afresh=afresh).run(stage, work)


@pytest.fixture
def place(tmp_path: Path) -> Callable[[str], Place]:
    return lambda name: Place(tmp_path / name, tmp_path / "cache")


@pytest.mark.parametrize("stage", [STAGE, MEASURED])
def test_a_run_that_goes_on_has_result_files_and_warnings(place: Callable[[str], Place], stage: Stage[Left]) -> None:
    first = place("out").run(stage)
    again = place("out")
    assert again.run(stage) == first and first.graph.read_bytes() == b"graph"
    assert again.ran == 0 and again.resumed == [stage.name]
    assert again.events.warnings == ["ranges are narrow"]
    assert again.events.kept == [stage.name] and again.events.timings[stage.name] >= 0


def test_what_was_interrupted_runs_again_in_an_empty_folder(place: Callable[[str], Place]) -> None:
    with pytest.raises(KeyboardInterrupt):
        place("out").run(STAGE, fails=True)
    again = place("out")
    assert again.run(STAGE).graph.is_file() and again.ran == 1


def test_another_folder_takes_it_from_the_cache_and_owns_its_files(place: Callable[[str], Place]) -> None:
    first, other = place("out").run(STAGE), place("other")
    found = other.run(STAGE)
    assert other.ran == 0 and found.number == first.number
    assert found.graph.is_relative_to(other.out.with_name("other.partial")) and found.graph.read_bytes() == b"graph"


def test_what_was_measured_is_not_another_jobs(place: Callable[[str], Place]) -> None:
    place("out").run(MEASURED)
    other = place("other")
    other.run(MEASURED)
    assert other.ran == 1


def test_what_lasts_a_while_is_taken_for_so_long(
    place: Callable[[str], Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    lasting = replace(MEASURED, shared=True, lasts_s=60.0)
    place("out").run(lasting)
    other = place("other")
    other.run(lasting)
    assert other.ran == 0
    later = time.time() + 61.0
    monkeypatch.setattr(runner.time, "time", lambda: later)
    interrupted, late = place("other"), place("late")
    interrupted.run(lasting)
    late.run(lasting)
    assert (interrupted.ran, late.ran) == (1, 0)  # what is in its own folder is too old, too; the other takes the new


def test_what_is_not_worth_sharing_is_its_own_jobs(place: Callable[[str], Place]) -> None:
    failed = replace(MEASURED, shared=True, worth_sharing=lambda left: left.number < 1)
    place("out").run(failed)
    other, again = place("other"), place("out")
    other.run(failed)
    again.run(failed)
    assert (other.ran, again.ran) == (1, 0)


def test_another_key_is_another_result(place: Callable[[str], Place]) -> None:
    place("out").run(STAGE)
    changed = place("out")
    changed.run(Stage("calibrate", "calibrate", Left, "other data", shared=True))
    assert changed.ran == 1


@pytest.mark.parametrize(("stage", "runs"), [(STAGE, 0), (MEASURED, 1)])
def test_another_job_in_the_same_folder_keeps_what_depends_on_content_alone(
    place: Callable[[str], Place], stage: Stage[Left], runs: int, tmp_path: Path
) -> None:
    place("out").run(stage)
    StageCache(tmp_path / "cache").evict(limit=0)
    other = place("out")
    other.run(stage, job="another duration")
    assert other.ran == runs


def test_force_takes_nothing(place: Callable[[str], Place]) -> None:
    place("out").run(STAGE)
    forced = place("out")
    forced.run(STAGE, afresh=True)
    assert forced.ran == 1


def test_a_file_that_is_gone_is_made_again(place: Callable[[str], Place], tmp_path: Path) -> None:
    place("out").run(STAGE).graph.unlink()
    StageCache(tmp_path / "cache").evict(limit=0)
    again = place("out")
    assert again.run(STAGE).graph.is_file() and again.ran == 1


def test_a_cache_that_cannot_be_written_costs_a_note(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    run = Place(tmp_path / "out", tmp_path / "file" / "cache")
    assert run.run(STAGE).graph.is_file()


def test_a_stage_whose_engine_is_gone_from_the_bundle_runs_again(place: Callable[[str], Place]) -> None:
    """It was published without its engine, as built."""
    job = place("a")
    engines = job.out.with_name("a.partial") / "engines"
    stage = Stage("build", "build", Left, "key", leaves=(engines / "a100", engines / "t4"))
    with Workspace(job.out, "job").opened(force=False):
        (engines / "a100").mkdir(parents=True)
        (engines / "a100" / "engine.plan").write_bytes(b"plan")
    job.run(stage)
    job.run(stage)
    assert job.ran == 1
    (engines / "a100" / "engine.plan").unlink()
    job.run(stage)
    assert job.ran == 2


def test_stages_side_by_side_each_keep_their_own_warnings(tmp_path: Path) -> None:
    events = Events()
    runner = StageRunner(Workspace(tmp_path / "out", "job"), events, None)
    met = threading.Barrier(2)

    def stage(name: str, _: threading.Event) -> Left:
        def work(folder: Path) -> Left:
            met.wait(timeout=30)
            events.warn(name, f"{name} warns")
            met.wait(timeout=30)
            return Left(1.0, folder)

        return runner.run(Stage(name, name, Left, name), work)

    side_by_side([partial(stage, "one"), partial(stage, "two")])
    assert sorted(events.warnings) == ["one warns", "two warns"]
    again = Events()
    runner = StageRunner(Workspace(tmp_path / "out", "job"), again, None)
    runner.run(Stage("two", "two", Left, "two"), lambda _: pytest.fail("ran again"))
    assert again.warnings == ["two warns"]


def test_seconds_of_stages_side_by_side_add_up_to_those_that_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    events, now = Events(), [10.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    with events.stage("long", "long"):
        now[0] += 1  # alone
        with events.stage("brief", "brief"):
            now[0] += 2  # half of it each
        now[0] += 4
    assert events.timings == {"brief": 1.0, "long": 6.0}


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another job, in a process of its own, that runs ``STAGE`` and takes its time."""
    assert not StageCache(tmp_path / "cache").unusable()
    lock = tmp_path / "cache" / "locks" / f"stages-{STAGE.key}.lock"
    held = "import fcntl, sys, time; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX); print(); time.sleep(60)"
    child = subprocess.Popen([sys.executable, "-uc", held, str(lock)], stdout=subprocess.PIPE)
    assert child.stdout is not None and child.stdout.readline()
    yield child
    child.kill()
    child.wait()
    child.stdout.close()


def test_of_two_jobs_with_one_content_the_second_waits_and_takes_it(
    place: Callable[[str], Place], elsewhere: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    left, second = tmp_path / "left", place("second")

    def ends(event: Event) -> None:
        """What the other job does when the second has told that it waits."""
        if isinstance(event, Note) and event.message.startswith("waiting for another job"):
            place("first").run(MEASURED)  # makes the same files
            shutil.copytree(tmp_path / "first.partial" / ".work" / "own" / MEASURED.name, left)
            StageCache(tmp_path / "cache").store(STAGE.key, left, "another job")
            elsewhere.kill()

    second.events = Events(second._listen, ends)
    assert second.run(STAGE).graph.read_bytes() == b"graph"
    assert second.ran == 0 and second.resumed == [STAGE.name]


def test_a_job_that_was_killed_keeps_nobody_waiting(
    place: Callable[[str], Place], elsewhere: subprocess.Popen[bytes]
) -> None:
    elsewhere.kill()
    elsewhere.wait()
    job = place("out")
    job.run(STAGE)
    assert job.ran == 1


def test_the_wait_has_an_end(
    place: Callable[[str], Place], elsewhere: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engines.cache.stages.LONGEST_WAIT_S", 0.0)
    job = place("out")
    job.run(STAGE)
    assert job.ran == 1 and elsewhere.poll() is None


def test_an_interrupt_ends_the_wait(
    tmp_path: Path, place: Callable[[str], Place], elsewhere: subprocess.Popen[bytes]
) -> None:
    stop = threading.Event()
    stop.set()
    workspace = Workspace(tmp_path / "out", "job")
    with workspace.opened(force=False), pytest.raises(KeyboardInterrupt):
        runner = StageRunner(workspace, Events(), StageCache(tmp_path / "cache"))
        runner.run(STAGE, lambda _: pytest.fail("it ran"), stop)
