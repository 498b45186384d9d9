"""Whatever an engine does, the run ends, is invalid, names the reason, and this process lives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.loadgen.run import run_loadgen
from benchmarks.loadgen.settings import LoadgenRequest, LoadgenResult, LoadgenSettings, Scenario
from benchmarks.samples.library import save_samples
from engines.engine import TensorSpec
from graphs.errors import BadInput

ENGINES = Path(__file__).with_name("engines_for_tests.py")
SPECS = (TensorSpec("x", "float32", ("batch", 16)),)
POISONED = 547  # beyond what the warm-up uses, and early in LoadGen's seeded order: a busy machine reaches it too


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """1,000 samples, one of them poisoned: its first feature is 999."""
    x = np.random.default_rng(0).standard_normal((1000, 16)).astype(np.float32)
    x[POISONED, 0] = 999.0
    return save_samples([{"x": row[None]} for row in x], SPECS, tmp_path_factory.mktemp("samples"))


def run(name: str, scenario: Scenario, samples: tuple[str, ...], log_dir: Path) -> LoadgenResult:
    settings = LoadgenSettings(scenario, duration_s=0.4, limit_s=4.0, stall_s=2.0, max_batch=8)
    return run_loadgen(LoadgenRequest(f"{ENGINES}:{name}", samples, settings, str(log_dir / "not" / "there" / "yet")))


@pytest.mark.parametrize("scenario", [Scenario.SINGLE_STREAM, Scenario.OFFLINE, Scenario.SERVER])
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Raising", f"samples the engine raised on: sample {POISONED}: ValueError: cannot digest"),
        ("ReturningNan", f"samples with NaN or infinite outputs: sample {POISONED}: 'logits'"),
        ("WrongShape", "samples with an output of wrong shape"),
    ],
)
def test_one_bad_sample_in_a_thousand_makes_the_run_invalid(
    name: str, reason: str, scenario: Scenario, samples: tuple[str, ...], tmp_path: Path
) -> None:
    result = run(name, scenario, samples, tmp_path)
    assert not result.valid and result.failed >= 1
    assert reason in result.reasons[0]
    assert result.samples > 0, "every sample was drained"


@pytest.mark.parametrize("scenario", [Scenario.SINGLE_STREAM, Scenario.SERVER, Scenario.OFFLINE])
def test_a_hanging_engine_is_killed(scenario: Scenario, samples: tuple[str, ...], tmp_path: Path) -> None:
    result = run("Hanging", scenario, samples, tmp_path)
    assert not result.valid
    assert "the engine hung: no answer for 2 s during run" in result.reasons[0]


@pytest.mark.parametrize("scenario", [Scenario.SINGLE_STREAM, Scenario.OFFLINE, Scenario.SERVER])
def test_a_dying_engine_names_the_exit_code(scenario: Scenario, samples: tuple[str, ...], tmp_path: Path) -> None:
    result = run("Dying", scenario, samples, tmp_path)
    assert not result.valid
    assert "process ended with status 7 during run" in result.reasons[0]


def test_an_engine_that_never_works_fails_in_the_warm_up(samples: tuple[str, ...], tmp_path: Path) -> None:
    result = run("Broken", Scenario.OFFLINE, samples, tmp_path)
    assert not result.valid
    assert "warm-up failed" in result.reasons[0]
    assert "no kernel for this device" in result.reasons[0]


def test_an_engine_that_does_not_load_shows_its_last_words(samples: tuple[str, ...], tmp_path: Path) -> None:
    result = run("Unloadable", Scenario.OFFLINE, samples, tmp_path)
    assert not result.valid
    assert "during load" in result.reasons[0]
    assert "plan was built by another version" in result.reasons[1]


def test_a_run_is_not_judged_by_an_older_runs_logs(samples: tuple[str, ...], tmp_path: Path) -> None:
    assert run("onnxruntime_engine", Scenario.OFFLINE, samples, tmp_path).valid
    result = run("Dying", Scenario.OFFLINE, samples, tmp_path)
    assert not result.valid
    assert result.value is None


def test_a_missing_engine_is_bad_input(samples: tuple[str, ...], tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="has no function 'Nothing'"):
        run("Nothing", Scenario.OFFLINE, samples, tmp_path)


def test_samples_without_the_models_input_are_bad_input(tmp_path: Path) -> None:
    other = save_samples([{"y": np.zeros((1, 16), np.float32)}], (TensorSpec("y", "float32", ("n", 16)),), tmp_path)
    with pytest.raises(BadInput, match="lacks input 'x'"):
        run("onnxruntime_engine", Scenario.OFFLINE, other, tmp_path / "log")
