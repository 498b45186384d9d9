"""The builder child: limits, crashes, Ctrl-C and kills, none of which may leave a process or a half-made folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines.build import BuildProgress, BuildRequest, build_engine
from engines.errors import BuildError, BuildFailure
from engines.profile import ShapeProfile
from engines.targets.target import TARGETS
from engines.tensorrt.builder import process
from engines.tensorrt.builder.process import Limits, build_in_child
from engines.tensorrt.builder.request import PlanRequest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def fake_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Run a script of the test's own in place of the builder."""

    def use(source: str) -> PlanRequest:
        (tmp_path / "fake_builder.py").write_text(textwrap.dedent(source))
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        monkeypatch.setattr(process, "_CHILD", "fake_builder")
        return PlanRequest("model.onnx", str(tmp_path / "engine.plan"), "tensorrt_rtx", "SM80")

    return use


def children(words: str) -> list[int]:
    """Processes whose command line holds ``words``."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            try:
                command = (folder / "cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue
            if words in command:
                found.append(int(folder.name))
    return found


def eventually(condition, seconds: float = 5.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


HANG = """
    import sys, time
    print('{"stage": "timing kernels", "done": 1, "total": 9}', flush=True)
    time.sleep(60)
"""


def test_time_limit_ends_a_hanging_build_and_says_where_it_was(fake_child, tmp_path: Path) -> None:
    seen: list[BuildProgress] = []
    with pytest.raises(BuildError, match="timing kernels") as caught:
        build_in_child(fake_child(HANG), limits=Limits(time_s=1.0), on_progress=seen.append)
    assert caught.value.failure is BuildFailure.TIMEOUT
    assert (seen[-1].stage, seen[-1].done, seen[-1].total) == ("timing kernels", 1, 9)
    assert sum(progress.stage == "timing kernels" for progress in seen) > 1, "progress goes on while a step is long"
    assert children(str(tmp_path)) == []
    assert leftovers(tmp_path) == []


def test_memory_limit_ends_a_build_that_takes_too_much(fake_child, tmp_path: Path) -> None:
    request = fake_child("import time; block = bytearray(300 << 20); time.sleep(60)")
    with pytest.raises(BuildError) as caught:
        build_in_child(request, limits=Limits(time_s=30, memory_mb=200))
    assert caught.value.failure is BuildFailure.OUT_OF_MEMORY
    assert children(str(tmp_path)) == []


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL"),
        ("import sys; print('cannot go on', file=sys.stderr); sys.exit(3)", "status 3"),
        ("pass", "status 0"),
    ],
)
def test_a_crash_is_the_childs_own(fake_child, tmp_path: Path, source: str, words: str) -> None:
    with pytest.raises(BuildError, match=words) as caught:
        build_in_child(fake_child(source))
    assert caught.value.failure is BuildFailure.CRASH
    assert ("cannot go on" in caught.value.log) == ("cannot go on" in source)
    assert leftovers(tmp_path) == []


def test_native_prints_do_not_disturb_progress(rtx: None, save_model, tmp_path: Path) -> None:
    # TensorRT prints "Unsupported ONNX data type" by itself, past its logger, for string inputs.
    model = save_model("agraph (string[1] x) => (string[1] y) { y = Identity(x) }")
    request = PlanRequest(str(model), str(tmp_path / "engine.plan"), "tensorrt_rtx", "SM80")
    with pytest.raises(BuildError, match="is string"):
        build_in_child(request)


@pytest.mark.parametrize("stage", ["starting", "building"])
def test_interrupt_kills_the_child_and_leaves_nothing(
    rtx: None, conv_model: Path, conv_profile: ShapeProfile, tmp_path: Path, stage: str
) -> None:
    def interrupt(progress: BuildProgress) -> None:
        if progress.stage.startswith(stage):
            raise KeyboardInterrupt

    out = tmp_path / "engines" / "a100"
    with pytest.raises(KeyboardInterrupt):
        build_engine(BuildRequest(conv_model, TARGETS["a100"], conv_profile, out, "fp32"), interrupt)
    assert children(str(tmp_path)) == []
    assert list(out.parent.iterdir()) == []
    assert build_engine(BuildRequest(conv_model, TARGETS["a100"], conv_profile, out, "fp32")).bytes > 0


BUILD = """
import sys
from pathlib import Path
from engines.build import BuildRequest, build_engine
from engines.profile import ShapeProfile
from engines.targets.target import TARGETS
from engines.tensorrt.builder import process
process._CHILD = "fake_builder"
request = BuildRequest(Path(sys.argv[1]), TARGETS["a100"], ShapeProfile({}), Path(sys.argv[2]), "fp32")
build_engine(request, lambda progress: print(progress.stage, flush=True))
"""


@pytest.fixture
def running_build(fake_child, matmul_model: Path, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    fake_child(HANG)
    command = [sys.executable, "-c", BUILD, str(matmul_model), str(tmp_path / "engines" / "a100")]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
    ) as running:
        assert running.stdout is not None
        for line in running.stdout:
            if line.startswith("timing kernels"):
                break
        assert len(children(str(tmp_path / "engines"))) == 2, "the command and its builder"
        yield running
        running.kill()


def test_ctrl_c_ends_promptly_with_nothing_left(rtx: None, running_build, tmp_path: Path) -> None:
    os.killpg(running_build.pid, signal.SIGINT)  # as a terminal does, to the whole foreground group
    _, errors = running_build.communicate(timeout=30)
    assert "KeyboardInterrupt" in errors
    assert children(str(tmp_path / "engines")) == []
    assert list((tmp_path / "engines").iterdir()) == []


def test_a_killed_parent_takes_its_child_along_and_the_next_build_clears_up(
    rtx: None, running_build, tmp_path: Path, matmul_model: Path, matmul_profile: ShapeProfile
) -> None:
    running_build.kill()
    running_build.wait()
    assert eventually(lambda: children(str(tmp_path / "engines")) == [])
    out = tmp_path / "engines" / "a100"
    assert leftovers(out.parent), "a kill leaves the staging folder, never something that looks whole"
    assert not out.exists()
    build_engine(BuildRequest(matmul_model, TARGETS["cpu"], matmul_profile, out, "fp32"))
    assert leftovers(out.parent) == []


def test_a_crash_while_looking_into_the_engine_costs_its_table_and_not_the_plan(fake_child) -> None:
    """TensorRT's inspector loads the plan again: what crashes there has the plan and its description already."""
    request = fake_child(
        """
        import json, os, sys
        from pathlib import Path
        from engines.tensorrt.builder.exits import INSPECTING
        request = json.loads(Path(sys.argv[1]).read_text())
        Path(request["plan"]).write_bytes(b"plan")
        built = {"library_version": "8.5.3.1", "inputs": [], "outputs": [], "layers": [], "memory": {}, "warnings": [],
                 "sparsity": [], "parse_seconds": 1.0, "build_seconds": 2.0}
        Path(sys.argv[1]).with_name("result.json").write_text(json.dumps({"built": built}))
        print(json.dumps({"stage": INSPECTING}), flush=True)
        os.abort()
        """
    )
    built = build_in_child(request)
    assert Path(request.plan).read_bytes() == b"plan"
    assert built.remarks == (
        "the layer table is the build log's: the builder was ended by SIGABRT while looking into the engine",
    )
