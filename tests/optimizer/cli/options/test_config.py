"""--config: whatever the help lists can be set in a file, meaning the same; a wrong value is one clear error."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

from graphs.errors import BadInput
from optimizer.cli.model import main_job
from optimizer.cli.options.config import NOT_IN_A_FILE, read_config
from optimizer.cli.process import running

# Every option of the main job, on the command line's terms and as a line of TOML.
SAME: dict[str, tuple[Any, str]] = {
    "precision": ("fp16", 'precision = "fp16"'),
    "target": ("cpu,t4", 'target = ["cpu", "t4"]'),
    "data": ("random", 'data = "random"'),
    "eval_data": ("held", 'eval-data = "held"'),
    "evaluate": ("score.py:f", 'evaluate = "score.py:f"'),
    "plan": (Path("plan.json"), 'plan = "plan.json"'),
    "calibration": ("mse", 'calibration = "mse"'),
    "without": ("bias,ranges", 'without = "bias,ranges"'),
    "samples": (7, "samples = 7"),
    "max_drop": ("2%", "max-drop = 0.02"),
    "optimize_for": ("size", 'optimize-for = "size"'),
    "sparsity": ("2:4", 'sparsity = "2:4"'),
    "shape": (["x=1x3"], 'shape = "x=1x3"'),
    "batch_axis": ("0", "batch-axis = 0"),
    "io_precision": ("fp16", 'io-precision = "fp16"'),
    "loadgen": ("none", 'loadgen = "none"'),
    "duration": (3.0, "duration = 3"),
    "out": (Path("there"), 'out = "there"'),
    "seed": (5, "seed = 5"),
    "jobs": (1, "jobs = 1"),
    "workspace": (64, "workspace = 64"),
    "optimization_level": (2, "optimization-level = 2"),
    "version_compatible": (True, "version-compatible = true"),
    "hardware_compatible": (True, "hardware-compatible = true"),
    "refit": (True, "refit = true"),
    "strip_plan": (True, "strip-plan = true"),
    "weight_streaming": (True, "weight-streaming = true"),
    "plugin": ([Path("mine.so")], 'plugin = ["mine.so"]'),
    "builder_option": (["tf32=off"], "[builder-option]\ntf32 = false"),
    "build_time_limit": (60.0, "build-time-limit = 60"),
    "build_memory_limit": (900, "build-memory-limit = 900"),
    "force": (True, "force = true"),
    "json": (True, "json = true"),
    "quiet": (True, "quiet = true"),
    "verbose": (True, "verbose = true"),
}


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Runs the command up to the job itself; returns what the job would be called with."""
    (tmp_path / "mine.so").touch()
    (tmp_path / "plan.json").write_text('{"nodes": {"conv": "fp16"}}')
    monkeypatch.chdir(tmp_path)
    seen: list[Any] = []

    def run_job(*arguments: Any, **options: Any) -> int:
        seen.append((arguments, options))
        return 0

    monkeypatch.setattr(running, "run_job", run_job)

    def call(**options: Any) -> Any:
        main_job(Path("m.onnx"), **options)
        return seen[-1]

    return call


def test_the_table_holds_every_option() -> None:
    assert set(SAME) == set(inspect.signature(main_job).parameters) - set(NOT_IN_A_FILE)


@pytest.mark.parametrize("name", SAME)
def test_an_option_means_the_same_in_a_file(name: str, job: Any, tmp_path: Path) -> None:
    value, line = SAME[name]
    (tmp_path / "job.toml").write_text(line + "\n")
    assert job(config=tmp_path / "job.toml") == job(**{name: value}) != job()


def test_the_command_line_wins_and_builder_options_add_up(job: Any, tmp_path: Path) -> None:
    (tmp_path / "job.toml").write_text('seed = 5\nsamples = 9\nworkspace = 64\nbuilder-option = ["tf32=on"]\n')
    (_, settings), _ = job(config=tmp_path / "job.toml", seed=0, workspace=32, builder_option=["dla_core=1"])
    assert (settings.seed, settings.samples) == (0, 9)
    assert settings.tensorrt_options == {"workspace_mb": "32", "tf32": "on", "dla_core": "1"}


@pytest.mark.parametrize(
    ("line", "key", "expected"),
    [
        ('samples = "many"', "samples", "a whole number"),
        ("jobs = 1.5", "jobs", "a whole number"),
        ("seed = true", "seed", "a whole number"),
        ("seed = -1", "seed", "0 or more"),
        ('duration = "long"', "duration", "a number"),
        ("data = 5", "data", "text"),
        ("target = 5", "target", "text, or an array of it"),
        ('target = "t5"', "target", "one of cpu"),
        ('refit = "yes"', "refit", "true or false"),
        ("loadgen = true", "loadgen", "text, or an array of it"),
        ('loadgen = "offlin"', "loadgen", "one of singlestream"),
        ("shape = [1, 3]", "shape", "text, or an array of it"),
        ('shape = "input"', "shape", "NAME=MIN:OPT:MAX"),
        ('precision = "int9"', "precision", "one of fp32"),
        ('max-drop = "much"', "max-drop", "for example 1%"),
        ("colour = 3", "'colour'", "batch-axis, build-memory-limit"),
    ],
)
def test_a_wrong_value_names_file_key_and_what_is_expected(line: str, key: str, expected: str, tmp_path: Path) -> None:
    file = tmp_path / "job.toml"
    file.write_text(line + "\n")
    with pytest.raises(BadInput) as caught:
        read_config(file, main_job)
    assert str(file) in caught.value.where and key in str(caught.value) and expected in caught.value.expected


@pytest.mark.parametrize("text", ["= 3", "samples = ", "\x00"])
def test_a_file_that_is_no_toml(text: str, tmp_path: Path) -> None:
    (tmp_path / "job.toml").write_text(text)
    with pytest.raises(BadInput, match="cannot be read as TOML"):
        read_config(tmp_path / "job.toml", main_job)
    with pytest.raises(BadInput, match="no such file"):
        read_config(tmp_path / "none.toml", main_job)
