"""Slots, shapes, graphs and device arrays of the GPU engine, on a fake device that is as lazy as a real one."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines import pieces
from engines.cuda.device_array import DeviceArray
from engines.engine import Engine
from engines.errors import EngineError
from engines.tensorrt.runtime.engine import GpuSettings, TensorRtEngine
from engines.tensorrt.runtime.slot import MAX_GRAPHS
from tests.engines.cuda.fake_cuda import FakeCuda
from tests.engines.cuda.fake_tensorrt import ONE_PROFILE, FakeEngine, Format, Kind, Strategy, batch, fake_library


class Bench:
    """A fake GPU, a fake plan and the engine under test."""

    def __init__(self, tmp_path: Path, *, rtx: bool = False, cuda: FakeCuda | None = None, **settings: Any) -> None:
        self.cuda = cuda or FakeCuda()
        self.profiles = settings.pop("profiles", ONE_PROFILE)
        self.plan_engine = FakeEngine(self.cuda, self.profiles)
        self.plan = tmp_path / "engine.plan"
        self.engine = TensorRtEngine(
            self.plan_engine, fake_library(rtx=rtx), self.cuda, GpuSettings(**settings), self.plan
        )

    @property
    def contexts(self) -> list[Any]:
        return self.plan_engine.contexts


def test_it_is_an_engine_and_computes(tmp_path: Path) -> None:
    with Bench(tmp_path).engine as engine:
        assert isinstance(engine, Engine)
        assert [(s.name, s.dtype, s.shape) for s in engine.inputs] == [("x", "float32", ("?", 3))]
        for rows in (1, 5, 16, 5):
            np.testing.assert_array_equal(engine.infer({"x": batch(rows)})["y"], 2 * batch(rows) + 1)


def test_outputs_survive_the_next_run(tmp_path: Path) -> None:
    engine = Bench(tmp_path).engine
    first = engine.infer({"x": batch(4)})["y"]
    engine.infer({"x": batch(4, 100)})
    np.testing.assert_array_equal(first, 2 * batch(4) + 1)


@pytest.mark.parametrize("graphs", [True, False])
def test_several_batches_in_flight_stay_apart(tmp_path: Path, graphs: bool) -> None:
    engine = Bench(tmp_path, slots=3, graphs=graphs).engine
    for round_ in range(3):
        starts = [round_ * 100.0 + 10 * n for n in range(3)]
        flights = [engine.submit({"x": batch(4, start)}) for start in starts]
        for start, flight in reversed(list(zip(starts, flights, strict=True))):
            np.testing.assert_array_equal(engine.collect(flight)["y"], 2 * batch(4, start) + 1)


@pytest.mark.parametrize("graphs", [True, False])
def test_large_inputs_are_copied_in_parts_between_the_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, graphs: bool
) -> None:
    monkeypatch.setattr(pieces, "LARGE_BYTES", 48)
    monkeypatch.setattr(pieces, "PIECE_BYTES", 24)
    monkeypatch.setattr(pieces, "available_cores", lambda: 4)
    cuda, copied = FakeCuda(), list[int]()
    copy = cuda.copy_to_device
    monkeypatch.setattr(cuda, "copy_to_device", lambda at, part, on: copied.append(part.nbytes) or copy(at, part, on))
    engine = Bench(tmp_path, cuda=cuda, slots=2, graphs=graphs).engine
    for start in (0.0, 100.0, 200.0):
        feeds = [batch(16, start), batch(16, -start)[::-1]]
        flights = [engine.submit({"x": feed}) for feed in feeds]  # the device copies nothing before it is waited for
        for feed, flight in zip(feeds, flights, strict=True):
            np.testing.assert_array_equal(engine.collect(flight)["y"], 2 * feed + 1)
    assert copied == [24] * 8 * 6
    assert any(thread.name.startswith("pieces") for thread in threading.enumerate())
    engine.close()
    assert not any(thread.name.startswith("pieces") for thread in threading.enumerate())


def test_a_graph_is_captured_once_per_shape_after_a_warm_run(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    for rows in (4, 4, 4, 2, 2):
        bench.engine.infer({"x": batch(rows)})
    assert (bench.cuda.captures, bench.cuda.launches) == (2, 3)


def test_each_captured_shape_has_its_own_context_in_shared_memory(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    for rows in (4, 2, 4, 2, 4):  # the fake raises if a captured context is touched again
        np.testing.assert_array_equal(bench.engine.infer({"x": batch(rows)})["y"], 2 * batch(rows) + 1)
    assert len(bench.contexts) == 3  # one to size the buffers and run without graphs, two captured
    assert {context.how for context in bench.contexts} == {Strategy.USER_MANAGED}


def test_old_graphs_are_dropped_and_freed(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    for rows in range(1, MAX_GRAPHS + 3):
        bench.engine.infer({"x": batch(rows)})
    assert bench.cuda.closed.count("graph") == 2
    bench.engine.infer({"x": batch(3)})  # the oldest that is left becomes the youngest
    assert bench.cuda.captures == MAX_GRAPHS + 2
    bench.engine.infer({"x": batch(1)})
    bench.engine.infer({"x": batch(3)})
    assert bench.cuda.captures == MAX_GRAPHS + 3


def test_a_model_that_cannot_be_captured_still_runs(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(tmp_path, cuda=FakeCuda(capture_fails=True))
    for start in (0.0, 7.0):
        np.testing.assert_array_equal(bench.engine.infer({"x": batch(4, start)})["y"], 2 * batch(4, start) + 1)
    assert "without a CUDA graph" in caplog.text and len(caplog.records) == 1


def test_without_graph_support_shapes_and_addresses_are_set_only_on_change(tmp_path: Path) -> None:
    bench = Bench(tmp_path, cuda=FakeCuda(supports_graphs=False))
    (context,) = bench.contexts
    calls = context.shape_calls
    for rows in (4, 4, 2, 2):
        np.testing.assert_array_equal(bench.engine.infer({"x": batch(rows)})["y"], 2 * batch(rows) + 1)
    assert context.shape_calls - calls == 2
    assert context.address_calls == 2
    assert bench.cuda.captures == 0


def test_the_profile_that_covers_the_shape_is_used(tmp_path: Path) -> None:
    bench = Bench(tmp_path, profiles=[((1, 3), (2, 3), (4, 3)), ((8, 3), (16, 3), (32, 3))])
    for rows in (2, 20, 3, 32):
        np.testing.assert_array_equal(bench.engine.infer({"x": batch(rows)})["y"], 2 * batch(rows) + 1)
    with pytest.raises(EngineError, match="outside the optimization profile") as caught:
        bench.engine.infer({"x": batch(6)})
    assert "input 'x'" in caught.value.where
    assert caught.value.expected == "min 1x3, max 4x3 or min 8x3, max 32x3"


def test_profiles_may_share_their_largest_shape(tmp_path: Path) -> None:
    profiles = [((1, 3), (2, 3), (16, 3)), ((8, 3), (16, 3), (16, 3))]
    bench = Bench(tmp_path, profiles=profiles, graphs=False)
    np.testing.assert_array_equal(bench.engine.infer({"x": batch(16)})["y"], 2 * batch(16) + 1)


def test_what_tensorrt_logged_is_the_reason(tmp_path: Path) -> None:
    bench = Bench(tmp_path, graphs=False)
    bench.contexts[0].refuses_with = "Error Code 1: Cask (misaligned address)"
    with pytest.raises(EngineError, match="did not start the run: Error Code 1: Cask"):
        bench.engine.infer({"x": batch(4)})
    bench.contexts[0].refuses_with = ""
    np.testing.assert_array_equal(bench.engine.infer({"x": batch(4)})["y"], 2 * batch(4) + 1)


@pytest.mark.parametrize(
    ("feed", "message"),
    [
        ({}, "missing from the feed"),
        ({"x": batch(2), "z": batch(2)}, "the model has no input 'z'"),
        ({"x": batch(2).astype(np.float64)}, "got float64"),
        ({"x": batch(2)[0]}, "got float32"),
        ({"x": batch(99)}, "outside the optimization profile"),
    ],
)
def test_a_feed_that_does_not_fit_is_named_and_costs_no_slot(
    tmp_path: Path, feed: dict[str, Any], message: str
) -> None:
    engine = Bench(tmp_path).engine
    with pytest.raises(EngineError, match=message):
        engine.infer(feed)
    np.testing.assert_array_equal(engine.infer({"x": batch(2)})["y"], 2 * batch(2) + 1)


def test_more_submits_than_slots_is_an_error_not_a_deadlock(tmp_path: Path) -> None:
    engine = Bench(tmp_path, slots=2).engine
    flights = [engine.submit({"x": batch(1)}) for _ in range(2)]
    with pytest.raises(EngineError, match="all 2 slots"):
        engine.submit({"x": batch(1)}, timeout_s=0.01)
    engine.collect(flights[0])
    engine.submit({"x": batch(1)}, timeout_s=0.01)


def test_a_flight_is_collected_once(tmp_path: Path) -> None:
    engine = Bench(tmp_path).engine
    flight = engine.submit({"x": batch(1)})
    engine.collect(flight)
    assert flight.times is not None and flight.times.total_ms == 3.0
    with pytest.raises(EngineError, match="collected before"):
        engine.collect(flight)


def test_device_arrays_are_read_where_they_are(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.engine.infer({"x": batch(4)})  # captures a graph, which must not be used for another address
    data = batch(4, 50)
    given = DeviceArray(int(data.ctypes.data), (4, 3), data.dtype, data)
    with bench.engine.infer_on_device({"x": given}) as outputs:
        view = np.frombuffer((np.ctypeslib.ctypes.c_float * 12).from_address(outputs["y"].address), np.float32)
        np.testing.assert_array_equal(view.reshape(4, 3), 2 * data + 1)
    assert bench.cuda.launches == 0
    np.testing.assert_array_equal(bench.engine.infer({"x": batch(4)})["y"], 2 * batch(4) + 1)


def test_a_device_array_is_read_after_its_producer_is_done(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    data, producer = np.zeros((2, 3), np.float32), bench.cuda.stream()
    producer.put(lambda: np.copyto(data, batch(2, 5)))
    given = DeviceArray(int(data.ctypes.data), (2, 3), data.dtype, data, stream=producer.handle)
    np.testing.assert_array_equal(bench.engine.infer({"x": given})["y"], 2 * batch(2, 5) + 1)


def test_closing_frees_everything_once(tmp_path: Path) -> None:
    bench = Bench(tmp_path, slots=2)
    bench.engine.infer({"x": batch(4)})
    bench.engine.close()
    bench.engine.close()
    assert sorted(bench.cuda.closed) == sorted(bench.cuda.opened)
    with pytest.raises(EngineError, match="closed"):
        bench.engine.infer({"x": batch(4)})


def test_no_context_means_an_error_and_nothing_leaked(tmp_path: Path) -> None:
    cuda = FakeCuda()
    plan = FakeEngine(cuda, ONE_PROFILE, fails=True)
    with pytest.raises(EngineError, match="no execution context"):
        TensorRtEngine(plan, fake_library(), cuda, GpuSettings(), tmp_path / "engine.plan")
    assert sorted(cuda.closed) == sorted(cuda.opened)


@pytest.mark.parametrize(("change", "message"), [({"kind": Kind.FP4}, "FP4"), ({"format": Format.HWC8}, "linear")])
def test_io_that_arrays_cannot_carry_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    cuda = FakeCuda()
    with pytest.raises(EngineError, match=message):
        TensorRtEngine(FakeEngine(cuda, ONE_PROFILE, **change), fake_library(), cuda, GpuSettings(), tmp_path / "p")


def test_rtx_specialises_eagerly_captures_by_itself_and_keeps_its_kernels(tmp_path: Path) -> None:
    bench = Bench(tmp_path, rtx=True)
    np.testing.assert_array_equal(bench.engine.infer({"x": batch(4)})["y"], 2 * batch(4) + 1)
    config = bench.plan_engine.config
    assert config.dynamic_shapes_kernel_specialization_strategy.name == "EAGER"
    assert config.cuda_graph_strategy.name == "WHOLE_GRAPH_CAPTURE"
    assert bench.cuda.captures == 0
    bench.engine.close()
    assert (tmp_path / "engine.plan.runtime-cache").read_bytes() == b"kernels"
    again = Bench(tmp_path, rtx=True)
    assert again.plan_engine.config.cache.loaded == b"kernels"


def test_a_foreign_runtime_cache_is_reported_and_replaced(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = tmp_path / "engine.plan.runtime-cache"
    cache.write_bytes(b"of another GPU")
    Bench(tmp_path, rtx=True).engine.close()
    assert "compiled again" in caplog.text
    assert cache.read_bytes() == b"kernels"
