"""Several batches in flight: every one is counted, and times between events are the device's."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import benchmarks.in_flight as in_flight
import benchmarks.timing.forms as forms
from benchmarks.energy.measure import measure_energy
from benchmarks.in_flight import device_latency, kept_busy
from benchmarks.measurement import summarize_latency
from benchmarks.timing.forms import time_forms
from engines.onnxruntime.engine import OnnxRuntimeEngine
from engines.profile import ShapeProfile, ShapeRange
from engines.tensorrt.runtime.engine import GpuSettings, TensorRtEngine
from tests.benchmarks.energy.meter import Meter
from tests.engines.cuda.fake_cuda import FakeCuda
from tests.engines.cuda.fake_tensorrt import FakeEngine, fake_library

FEED = {"x": np.ones((4, 3), np.float32)}
PROFILE = ShapeProfile({"x": ShapeRange((1, 3), (4, 3), (32, 3))})


def gpu_engine(tmp_path: Path, slots: int = 2) -> TensorRtEngine:
    cuda = FakeCuda()
    plan = FakeEngine(cuda, [((1, 3), (4, 3), (32, 3))])
    return TensorRtEngine(plan, fake_library(), cuda, GpuSettings(slots=slots), tmp_path / "engine.plan")


def cpu_engine() -> OnnxRuntimeEngine:
    text = '<ir_version: 8, opset_import: ["" : 17]> g (float[N,3] x) => (float[N,3] y) { y = Relu(x) }'
    return OnnxRuntimeEngine(onnx.parser.parse_model(text).SerializeToString(), threads=1)


def test_a_train_fills_every_slot_and_answers_like_the_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = gpu_engine(tmp_path, slots=3)
    most, under_way = 0, 0

    def counted(name: str, step: int) -> None:
        method = getattr(engine, name)

        def call(argument: Any) -> Any:
            nonlocal most, under_way
            under_way += step
            most = max(most, under_way)
            return method(argument)

        monkeypatch.setattr(engine, name, call)

    counted("submit", 1)
    counted("collect", -1)
    train, length = kept_busy(engine, FEED)
    assert length == 12
    np.testing.assert_array_equal(train.infer(FEED)["y"], 2 * FEED["x"] + 1)
    assert most == 3 and under_way == 0


def test_an_engine_that_takes_one_at_a_time_is_left_as_it_is() -> None:
    with cpu_engine() as engine:
        assert kept_busy(engine, FEED) == (engine, 1) and device_latency(engine, FEED) is None


def test_a_slow_engine_has_a_shorter_train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = gpu_engine(tmp_path)
    monkeypatch.setattr(in_flight, "LONGEST_TRAIN_MS", 90.0)
    infer = engine.infer
    monkeypatch.setattr(engine, "infer", lambda feed: time.sleep(0.03) or infer(feed))
    assert kept_busy(engine, FEED)[1] in (1, 2)
    monkeypatch.setattr(in_flight, "LONGEST_TRAIN_MS", 1.0)
    assert kept_busy(engine, FEED) == (engine, 1)


def test_throughput_counts_every_batch_of_a_train(tmp_path: Path) -> None:
    engine = gpu_engine(tmp_path)
    times = time_forms({"it": engine}, {"x": FEED["x"][:1]}, engine.inputs, PROFILE, seconds=0.02)
    assert times.batch == 4 and times.steadiness is not None and times.throughput["it"].samples_per_s > 0
    assert forms._rate(summarize_latency([0.01] * 3), batch=4, batches=8).samples_per_s == pytest.approx(3200)


def test_device_times_and_energy(tmp_path: Path) -> None:
    engine = gpu_engine(tmp_path)
    found = device_latency(engine, FEED, runs=5)
    assert found is not None and (found.compute_ms, found.n) == (1.0, 5)
    energy = measure_energy(engine, FEED, Meter(), seconds=0.02)
    assert energy.inferences_per_joule is not None
    samples = round(10 * energy.inferences_per_joule)
    assert samples > 0 and samples % (4 * 8) == 0, "whole trains of 8 batches of 4"
    assert 10 * energy.inferences_per_joule == pytest.approx(samples)
