"""The seven figures: what each says when it was measured, and what when it was not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.accuracy.confidence import DropBound
from benchmarks.accuracy.task_metric import TaskAccuracy
from benchmarks.energy.measure import Energy
from benchmarks.measurement import summarize_latency
from benchmarks.memory import EngineMemory
from benchmarks.plaster import figures
from benchmarks.plaster.figures import Learning, NativeOps
from benchmarks.plaster.native import native_in_form, native_in_layers, refused
from benchmarks.report.model import LoadgenSummary, OutputFidelity
from engines.layers import LayerInfo

VALID = LoadgenSummary(True, "p90 latency", 4.8, p50=4.1, p90=4.7, p99=8.0, unit="ms")
INVALID = LoadgenSummary(False, "p90 latency", 4.8, unit="ms")
TIMED = summarize_latency([0.004] * 90 + [0.010] * 10)


def test_native_share_over_targets_and_the_flags_it_took() -> None:
    figure = figures.programmability({"cpu": NativeOps(10, 10), "t4": NativeOps(10, 5, "5 fell back")}, [])
    assert figure.value == pytest.approx(0.75)
    assert figure.details == {"cpu_share": 1.0, "t4_share": 0.5}
    assert "t4 5 of 10 (5 fell back)" in figure.how and "no options needed" in figure.how
    assert "options needed: --shape x=1:2:3" in figures.programmability({}, ["--shape x=1:2:3"]).how


def test_a_node_in_int8_that_no_layer_reads_as_int8_fell_back() -> None:
    layers = [
        LayerInfo("a", "Conv", ("int8",), (), ("int8",), "", ("conv1",)),
        LayerInfo("b", "Conv", ("float16",), (), ("int8",), "", ("conv2",)),
    ]
    planned = {"conv1": "int8", "conv2": "int8", "soft": "fp16"}
    assert native_in_layers(planned, layers) == NativeOps(3, 2, "1 fell back from int8")
    assert native_in_layers(planned, []).native == 3
    assert native_in_form(planned, "fp32").native == 1
    assert native_in_form(planned, "int8").native == 3
    assert refused(3, "no builder here\nmore").note == "no engine: no builder here"


def test_latency_prefers_loadgen_and_judges_the_bound() -> None:
    figure = figures.latency(VALID, TIMED, bound_ms=5.0)
    assert figure.value == 4.8
    assert "misses the bound of 5 ms" in figure.how
    assert figure.details["bound_met"] == 0.0 and figure.details["p99_ms"] == 8.0
    assert "is within the bound" in figures.latency(VALID, None, bound_ms=15.0).how
    assert figures.latency(INVALID, TIMED).value == pytest.approx(TIMED.p90)
    assert "LoadGen's run was invalid" in figures.latency(INVALID, TIMED).how
    assert figures.latency(None, None).value is None


def test_accuracy_carries_its_interval() -> None:
    task = TaskAccuracy("top-1", 0.72, 0.71, 0.01, (0.002, 0.018), 10_000)
    figure = figures.accuracy(None, task, 500, "measured")
    assert figure.value == 0.71 and figure.unit == "top-1"
    assert "95 % interval 0.002 to 0.018" in figure.how
    assert figure.details["drop_ci95_high"] == 0.018
    assert figure.how.endswith(", 10,000 samples")
    part = replace(task, sampled=DropBound(0.02, 0.95, 2000, "Tango's"))
    assert figures.accuracy(None, part, 500, "measured").how.endswith(", 2,000 of 10,000 samples")
    outputs = {"a": OutputFidelity(0.99, 20.0, 0.1, 0.98), "b": OutputFidelity(0.95, 11.0, 0.1)}
    assert figures.accuracy(outputs, None, 500, "measured").value == 0.95
    assert figures.accuracy(None, None, 0, "").value is None


def test_size_tells_file_engine_and_memory() -> None:
    figure = figures.size(4_000_000, 1_000_000, EngineMemory(20_000_000, 5_000_000))
    assert figure.value == 1.0 and figure.unit == "MB"
    assert figure.details == {"file_bytes": 4e6, "engine_bytes": 1e6, "memory_bytes": 2e7, "device_bytes": 5e6}
    assert "memory not measured: no GPU" in figures.size(4_000_000, None, None, "no GPU").how


def test_energy_and_learning_say_why_there_is_no_number() -> None:
    missing = figures.energy(Energy(None, None, 0.0, "not measurable here: no RAPL counter"))
    assert missing.value is None and "not measurable here" in missing.how
    learned = figures.rate_of_learning(Learning(12.3, cached=0.8, refit_why="no refit here"))
    assert learned.value == 12.3
    assert (
        "cold 12.3 s" in learned.how and "cached 0.8 s" in learned.how and "refit not measured: no refit" in learned.how
    )
    assert learned.details == {"cold_s": 12.3, "cached_s": 0.8, "refit_s": None}


def test_throughput_falls_back_to_the_timed_loop() -> None:
    offline = LoadgenSummary(True, "throughput", 412.0, unit="samples/s", batch=8)
    assert figures.throughput(offline, 400.0, 4).value == 412.0
    assert "batches of 8" in figures.throughput(offline, 400.0, 4).how
    assert figures.throughput(None, 400.0, 4).value == 400.0
    assert figures.throughput(None, None, None).value is None
