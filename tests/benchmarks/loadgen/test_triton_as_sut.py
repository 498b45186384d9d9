"""A served model as an engine and as a system under test, over real gRPC."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tritonclient.grpc")

from benchmarks.loadgen.run import run_loadgen
from benchmarks.loadgen.settings import LoadgenRequest, LoadgenSettings, Scenario
from benchmarks.samples.library import save_samples
from engines.engine import TensorSpec
from engines.errors import EngineError
from engines.kserve import KserveEngine
from graphs.errors import BadInput
from tests.benchmarks.loadgen.engines_for_tests import onnxruntime_engine
from tests.benchmarks.loadgen.kserve_server import Servicer, serving

X = np.random.default_rng(4).standard_normal((100, 16)).astype(np.float32)
SPECS = (TensorSpec("x", "float32", ("batch", 16)),)


@pytest.fixture
def servicer() -> Servicer:
    return Servicer(onnxruntime_engine(), fail_on=999.0)


@pytest.fixture
def address(servicer: Servicer) -> Iterator[str]:
    with serving(servicer) as url:
        yield url


def test_a_served_model_answers_as_the_local_one_does(address: str) -> None:
    with KserveEngine.open(address) as remote, onnxruntime_engine() as local:
        assert remote.inputs == SPECS and remote.outputs[0].shape == ("batch", 4)
        np.testing.assert_array_equal(remote.infer({"x": X})["logits"], local.infer({"x": X})["logits"])


def test_the_servers_own_words_reach_the_user(address: str) -> None:
    with KserveEngine.open(address) as engine:
        with pytest.raises(EngineError, match="the backend fell over"):
            engine.infer({"x": np.full((1, 16), 999.0, np.float32)})
        with pytest.raises(EngineError, match="has no input 'y'"):
            engine.infer({"x": X, "y": X})
        with pytest.raises(EngineError, match=r"got float64 \[100, 16\]"):
            engine.infer({"x": X.astype(np.float64)})
    with pytest.raises(BadInput, match="unknown model: 'other'"):
        KserveEngine.open(address.replace("/tiny", "/other"))
    with pytest.raises(BadInput, match="HOST:PORT/MODEL"):
        KserveEngine.open("grpc://localhost")


def test_no_server_is_one_clear_error() -> None:
    with pytest.raises(BadInput, match="start the server, or correct the address"):
        KserveEngine("127.0.0.1:9", "tiny", timeout=2.0)


@pytest.mark.parametrize("scenario", [Scenario.SINGLE_STREAM, Scenario.SERVER, Scenario.OFFLINE])
def test_loadgen_drives_a_server(scenario: Scenario, address: str, servicer: Servicer, tmp_path: Path) -> None:
    samples = save_samples([{"x": row[None]} for row in X], SPECS, tmp_path / "samples")
    settings = LoadgenSettings(
        scenario, duration_s=0.5, target_qps=100.0, latency_bound_ms=5000.0, workers=4, max_batch=16
    )
    result = run_loadgen(LoadgenRequest(address, samples, settings, str(tmp_path / "log")))
    assert result.valid, result.reasons
    assert servicer.samples >= result.samples > 0
    assert result.workers == 4


def test_a_failing_server_makes_the_run_invalid(address: str, tmp_path: Path) -> None:
    poisoned = X.copy()
    poisoned[70:, 0] = 999.0
    samples = save_samples([{"x": row[None]} for row in poisoned], SPECS, tmp_path / "samples")
    settings = LoadgenSettings(Scenario.OFFLINE, duration_s=0.3, max_batch=1)
    result = run_loadgen(LoadgenRequest(address, samples, settings, str(tmp_path / "log")))
    assert not result.valid and result.failed > 0
    assert "the backend fell over" in result.reasons[0]
