"""Valid runs of a real engine in the four scenarios, and what a run too short or too fast for the engine says."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from benchmarks.loadgen.answers import read_answers
from benchmarks.loadgen.run import run_loadgen
from benchmarks.loadgen.settings import LoadgenRequest, LoadgenResult, LoadgenSettings, Mode, Scenario
from benchmarks.samples.library import save_samples
from engines.build import BuildRequest, build_engine
from engines.engine import TensorSpec
from engines.profile import ShapeProfile, ShapeRange
from engines.source import open_source
from engines.targets.target import CPU
from engines.user_code import load_callable

ENGINES = Path(__file__).with_name("engines_for_tests.py")
SPECS = (TensorSpec("x", "float32", ("batch", 16)),)
X = np.random.default_rng(1).standard_normal((100, 16)).astype(np.float32)


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    return save_samples([{"x": row[None]} for row in X], SPECS, tmp_path_factory.mktemp("samples"))


def run(name: str, settings: LoadgenSettings, samples: tuple[str, ...], log_dir: Path) -> LoadgenResult:
    return run_loadgen(LoadgenRequest(f"{ENGINES}:{name}", samples, settings, str(log_dir)))


@pytest.mark.parametrize("scenario", list(Scenario))
def test_a_real_engine_is_valid_in_every_scenario(scenario: Scenario, samples: tuple[str, ...], tmp_path: Path) -> None:
    settings = LoadgenSettings(scenario, duration_s=1.0, target_qps=1500.0, latency_bound_ms=200.0)
    result = run("onnxruntime_engine", settings, samples, tmp_path)
    assert result.valid, result.reasons
    assert result.value is not None and result.value > 0
    assert result.duration_s >= 1.0
    assert sum(int(size) * count for size, count in result.batch_histogram.items()) == result.samples
    assert (tmp_path / "mlperf_log_summary.txt").read_text().count("VALID") == 1
    assert (result.p99 is None) == (scenario is Scenario.OFFLINE)


def test_an_engine_folder_is_opened_from_any_current_folder(
    samples: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tmp_path / "model.onnx"
    model.write_bytes(load_callable(f"{ENGINES}:tiny_model")())
    profile = ShapeProfile({"x": ShapeRange((1, 16), (8, 16), (32, 16))})
    build_engine(BuildRequest(model, CPU, profile, tmp_path / "engines" / "cpu", "fp32", threads=1))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "audit.config").write_text("*.*.mode = 0\n")  # LoadGen reads a stray one unless told otherwise
    settings = LoadgenSettings(Scenario.OFFLINE, duration_s=0.3)
    result = run_loadgen(LoadgenRequest("engines/cpu", samples, settings, "logs/cpu/offline"))
    assert result.valid, result.reasons
    assert Path(result.log_dir) == tmp_path / "logs" / "cpu" / "offline"
    assert result.engine_s < result.duration_s


@pytest.mark.parametrize("scenario", [Scenario.SINGLE_STREAM, Scenario.MULTI_STREAM, Scenario.OFFLINE])
def test_accuracy_mode_equals_direct_evaluation(scenario: Scenario, samples: tuple[str, ...], tmp_path: Path) -> None:
    settings = LoadgenSettings(scenario, Mode.ACCURACY, max_batch=16)
    result = run("onnxruntime_engine", settings, samples, tmp_path)
    assert result.valid, result.reasons
    answers = dict(read_answers(tmp_path))
    assert sorted(answers) == list(range(100))
    with open_source(f"{ENGINES}:onnxruntime_engine") as engine:
        expected = engine.infer({"x": X})["logits"]
    for index, outputs in answers.items():
        np.testing.assert_allclose(outputs["logits"], expected[index : index + 1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("mode", list(Mode))
def test_an_output_that_does_not_split_by_sample_is_run_one_by_one(
    mode: Mode, samples: tuple[str, ...], tmp_path: Path
) -> None:
    result = run("Detecting", LoadgenSettings(Scenario.OFFLINE, mode, duration_s=0.3), samples, tmp_path)
    assert result.valid, result.reasons
    assert set(result.batch_histogram) == {"1"}
    if mode is Mode.ACCURACY:
        shapes = {index: outputs["boxes"].shape for index, outputs in read_answers(tmp_path)}
        assert shapes == {k: (int((row > 0).sum()), 3) for k, row in enumerate(X)}


def test_a_slow_engine_is_extended_to_the_least_number_of_queries(samples: tuple[str, ...], tmp_path: Path) -> None:
    result = run("Slow", LoadgenSettings(Scenario.SINGLE_STREAM, duration_s=0.5), samples, tmp_path)
    assert result.valid, result.reasons
    assert result.queries == 64
    assert any("64 queries are the minimum" in note for note in result.notes)


def test_an_engine_too_slow_for_the_limit_is_invalid_and_says_what_would_pass(
    samples: tuple[str, ...], tmp_path: Path
) -> None:
    settings = LoadgenSettings(Scenario.SINGLE_STREAM, duration_s=0.5, limit_s=1.0)
    result = run("Slow", settings, samples, tmp_path)
    assert not result.valid
    assert re.search(r"of the 64 queries needed; a limit of \d+ s would pass", result.reasons[0])
    assert result.queries < 64, "what cannot become valid is not waited for"


def test_an_overloaded_server_suggests_a_rate(samples: tuple[str, ...], tmp_path: Path) -> None:
    settings = LoadgenSettings(
        Scenario.SERVER, duration_s=1.0, limit_s=2.0, target_qps=500.0, latency_bound_ms=100.0, max_batch=1
    )
    result = run("Slow", settings, samples, tmp_path)
    assert not result.valid
    assert "samples not served within the time limit: asked for 500 per second" in result.reasons[0]
    assert "try 1" in result.reasons[0], "80 % of about 20 per second"
    assert result.samples >= 459, "drained, not abandoned"


def test_server_batches_queries_that_wait(samples: tuple[str, ...], tmp_path: Path) -> None:
    settings = LoadgenSettings(
        Scenario.SERVER, duration_s=0.5, target_qps=2000.0, latency_bound_ms=500.0, max_batch=8, max_wait_ms=20.0
    )
    result = run("onnxruntime_engine", settings, samples, tmp_path)
    assert max(map(int, result.batch_histogram)) == 8
    assert result.batch_histogram["8"] > sum(result.batch_histogram.values()) / 2
