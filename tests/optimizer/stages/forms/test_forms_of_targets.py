"""Which forms a job makes, and that each plan and each table describes the graph that its engine runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from io import StringIO
from pathlib import Path

import numpy as np
import onnx
import pytest
from rich.console import Console

import optimizer.stages.chain as chain
import optimizer.stages.data.inputs as inputs
import optimizer.stages.engines.cpu as cpu
import optimizer.stages.engines.cpu_engine as cpu_engine
import optimizer.stages.forms.typed as typed
from benchmarks.report.model import read_report
from calibration.sources.kept import KeptSource
from calibration.table import CalibrationTable
from engines.parallel import side_by_side
from engines.targets.target import CPU
from graphs.digests import sha256_file
from graphs.errors import BadInput
from optimizer import optimize
from optimizer.bundle import Bundle
from optimizer.events import Detail, Event, StageResumed, StageStarted
from optimizer.precision import Dtype, PrecisionPlan
from optimizer.stages.engines.build import BuildOutcome
from optimizer.stages.runner import StageRunner
from optimizer.verbs.explain.bundle import explain_bundle
from optimizer.verbs.explain.text import render
from tests.end_to_end.conftest import cnn


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model and data, and nothing that only measures or builds."""

    def no_plans(_: Path, targets: list, *__: object, **___: object) -> list[BuildOutcome]:
        return [BuildOutcome(t.name, f"engines/{t.name}/engine.plan", 1, 1.0, "trt") for t in targets if t is not CPU]

    monkeypatch.setattr(cpu, "SECONDS", 0.02)
    monkeypatch.setattr(cpu_engine, "engine_memory", lambda *_: None)
    monkeypatch.setattr(chain, "build_targets", no_plans)
    onnx.save(cnn(), tmp_path / "cnn.onnx")
    samples = np.random.default_rng(1).standard_normal((24, 3, 16, 16)).astype(np.float32)
    np.savez(tmp_path / "data.npz", input=samples)
    return tmp_path


def run(job: Path, **options: object) -> tuple[Path, list[str]]:
    said: list[str] = []

    def listen(event: Event) -> None:
        if isinstance(event, (Detail, StageStarted)):
            said.append(event.text if isinstance(event, Detail) else event.title)

    options = {"targets": ["cpu"], "data": str(job / "data.npz"), "loadgen": (), **options}
    optimize(job / "cnn.onnx", out=job / "out", listeners=[listen], **options)
    return job / "out", said


def integer_products(path: Path) -> set[str]:
    """Products whose operands both come from DequantizeLinear."""
    graph = onnx.load(path).graph
    makers = {name: node.op_type for node in graph.node for name in node.output}
    products = (node for node in graph.node if node.op_type in ("Conv", "Gemm", "MatMul"))
    return {node.name for node in products if all(makers.get(n) == "DequantizeLinear" for n in node.input[:2])}


def planned_products(plan: PrecisionPlan) -> set[str]:
    products = ("Conv", "Gemm", "MatMul")
    return {name for name, node in plan.nodes.items() if node.dtype is Dtype.INT8 and node.op_type in products}


def activation_scales(path: Path) -> list[float]:
    model = onnx.load(path)
    values = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    nodes = [node for node in model.graph.node if node.op_type == "QuantizeLinear"]
    return [float(values[node.input[1]]) for node in nodes if values[node.input[1]].ndim == 0]


def test_a_job_for_the_cpu_makes_the_cpus_form_alone(job: Path) -> None:
    out, said = run(job, cpu_form="int8")
    assert not any("TensorRT" in text or "model.onnx" in text for text in said)
    engine = out / "engines" / "cpu" / "model.onnx"
    assert sha256_file(out / "model.onnx") == sha256_file(engine)
    plan = Bundle(out).plan()
    assert planned_products(plan) == integer_products(engine) != set()
    assert not any("FP16" in node.reason or node.dtype is Dtype.FP16 for node in plan.nodes.values())
    ranges = CalibrationTable.load(out / "calibration.json").tensors.values()
    scales = [found.asymmetric_scale(0, 255)[0] for found in ranges]
    assert all(min(abs(s - scale) / scale for s in scales) < 1e-5 for scale in activation_scales(engine))


def test_the_report_of_such_a_job_is_that_of_the_engine(job: Path) -> None:
    out, _ = run(job, cpu_form="fp32")
    engine = out / "engines" / "cpu" / "model.onnx"
    assert not integer_products(engine) and sha256_file(out / "model.onnx") == sha256_file(engine)
    plan = Bundle(out).plan()
    assert {node.dtype for node in plan.nodes.values()} == {Dtype.FP32}
    assert all(node.reason == "fp32 was asked for" for node in plan.nodes.values())


def test_without_the_cpu_its_form_is_not_made(job: Path) -> None:
    out, said = run(job, targets=["t4"])
    assert any("TensorRT" in text for text in said) and not any("CPU" in text for text in said)
    assert not (out / "engines" / "cpu").exists()


def test_each_form_has_its_own_plan_and_table(job: Path) -> None:
    out, _ = run(job, targets=["cpu", "t4"], cpu_form="int8")
    bundle, engine = Bundle(out), out / "engines" / "cpu"
    assert planned_products(bundle.plan()) == integer_products(out / "model.onnx")
    assert planned_products(bundle.plan("cpu")) == integer_products(engine / "model.onnx")
    assert bundle.plan() != bundle.plan("cpu")
    tables = [CalibrationTable.load(folder / "calibration.json").tensors for folder in (out, engine)]
    assert set(tables[0]) != set(tables[1])  # outputs are quantized for the CPU alone
    assert explain_bundle(out, None).apart == ["cpu"]
    assert explain_bundle(out, None, "cpu").nodes == bundle.plan("cpu").nodes
    stream = StringIO()
    render(explain_bundle(out, "Conv_first", "cpu"), Console(file=stream, width=120))
    assert "Conv_first" in stream.getvalue() and " 8.6 %" in stream.getvalue()  # of all, though one node is shown


def test_a_half_precision_asked_for_is_typed_though_the_cpu_stays_fp32(job: Path) -> None:
    out, _ = run(job, precision="fp16")
    assert {tensor.data_type for tensor in onnx.load(out / "model.onnx").graph.initializer} == {10}
    assert {node.dtype for node in Bundle(out).plan("cpu").nodes.values()} == {Dtype.FP32}


def kept_and_made(job: Path, out: str, **options: object) -> tuple[set[str], set[str]]:
    """The stages that an earlier job's results stood in for, and those that ran."""
    kept: set[str] = set()
    made: set[str] = set()

    def listen(event: Event) -> None:
        if isinstance(event, (StageResumed, StageStarted)):
            (kept if isinstance(event, StageResumed) else made).add(event.stage)

    asked = {"targets": ["cpu", "t4"], "data": str(job / "data.npz"), "loadgen": (), **options}
    optimize(job / "cnn.onnx", out=job / out, listeners=[listen], **asked)
    return kept, made


MADE_ONCE = {"clean", "calibrate-cpu", "calibrate-tensorrt", "observe", "type-cpu", "type-tensorrt", "measure-cpu"}

ASKED_OTHERWISE = {"type-cpu", "type-tensorrt", "measure-cpu"}
"""What is made anew for a budget or a plan: the CPU ships the form that these ask for."""


def test_another_folder_target_or_budget_does_not_calibrate_again(job: Path) -> None:
    kept, made = kept_and_made(job, "first")
    assert not kept and made > MADE_ONCE
    first = sha256_file(job / "first" / "model.onnx")
    kept, made = kept_and_made(job, "second", targets=["cpu", "t4", "a100"], duration=9.0)
    assert kept == {"clean", "type-cpu", "type-tensorrt", "measure-cpu"} and not made & MADE_ONCE
    times = [read_report(job / out / "report.json").targets["cpu"] for out in ("first", "second")]
    assert times[1].latency_ms == times[0].latency_ms and not times[0].timed_earlier
    assert times[1].timed_earlier and "by an earlier run" in (job / "second" / "report.html").read_text()
    assert sha256_file(job / "second" / "model.onnx") == first
    kept, made = kept_and_made(job, "third", max_drop=0.02)
    assert made & MADE_ONCE == ASKED_OTHERWISE
    assert kept == MADE_ONCE - made
    assert sha256_file(job / "third" / "model.onnx") == first  # of what was calibrated then, the same graph is made
    kept, made = kept_and_made(job, "fourth", seed=1)
    assert "calibrate-cpu" in made and "calibrate-tensorrt" in made


def test_what_a_metric_said_is_never_another_jobs(job: Path) -> None:
    (job / "score.py").write_text("def score(infer): return 1.0")
    for out in ("first", "second"):
        kept, made = kept_and_made(job, out, targets=["cpu"], evaluate=f"{job / 'score.py'}:score")
        assert "type-cpu" in made
    assert kept == {"clean", "calibrate-cpu", "measure-cpu"}


def test_code_of_the_users_is_asked_in_the_thread_that_called(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection to a database, an event loop: much of what users hold belongs to one thread. Forms are made side by
    side all the same where only the metric is theirs.
    """
    here, asked, together = threading.current_thread(), set[threading.Thread](), list[int]()

    def score(_: object) -> float:
        asked.add(threading.current_thread())
        return 0.5

    def samples() -> Iterator[dict[str, np.ndarray]]:
        for sample in np.load(job / "data.npz")["input"]:
            asked.add(threading.current_thread())
            yield {"input": sample[None]}

    def counted(works: Sequence[Callable[[Event], object]]) -> list[object]:
        together.append(len(works))
        return side_by_side(works)

    monkeypatch.setattr(typed, "side_by_side", counted)
    with monkeypatch.context() as little:
        little.setattr(inputs, "KeptSource", partial(KeptSource, limit=0))
        run(job, targets=["cpu", "t4"], data=samples, evaluate=score)
    assert asked == {here} and together == [], "samples are the user's, and no more than one is in memory"
    run(job, targets=["cpu", "t4"], data=samples, evaluate=score, force=True)
    run(job, targets=["cpu", "t4"], data=samples)
    assert asked == {here} and together == [2, 2], "samples were taken into memory first"
    together.clear()
    run(job, targets=["cpu", "t4"], evaluate=score)
    assert asked == {here} and together == [2], "calibrated"
    run(job, targets=["cpu", "t4"], evaluate=score, precision="fp16")
    assert asked == {here} and together == [2], "nothing to calibrate"
    run(job, targets=["cpu", "t4"], eval_data=samples)
    assert asked == {here} and together == [2, 2], "calibrated: nothing is held back of the data"
    run(job, targets=["cpu", "t4"], max_drop=0.02)
    assert together == [2, 2, 2], "typed, too"


def test_every_stage_of_a_thread_can_be_told_to_wait_no_longer(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupt reaches the thread that called: the others look at what they are given."""
    stops, run_stage = dict[str, object](), StageRunner.run

    def recorded(self, stage, work, stop=None):
        if threading.current_thread() is not threading.main_thread():
            stops[stage.name] = stop
        return run_stage(self, stage, work, stop)

    monkeypatch.setattr(StageRunner, "run", recorded)
    run(job, targets=["cpu", "t4"])
    assert stops.keys() >= {"observe", "calibrate-cpu", "calibrate-tensorrt", "type-cpu", "type-tensorrt"}
    assert [name for name, stop in stops.items() if stop is None] == []


def test_a_bundle_made_by_its_own_plan_is_the_same_and_calibrates_nothing_again(job: Path) -> None:
    kept_and_made(job, "first")
    plan = job / "first" / "precision.json"
    kept, made = kept_and_made(job, "second", plan=plan)
    assert made & MADE_ONCE == ASKED_OTHERWISE and kept == MADE_ONCE - made
    assert sha256_file(job / "second" / "model.onnx") == sha256_file(job / "first" / "model.onnx")
    followed = read_report(job / "second" / "report.json").precision.plan
    assert followed is not None and followed.followed == followed.nodes and not followed.refused


def test_a_plan_is_told_where_it_does_not_fit_and_refused_where_nothing_does(job: Path) -> None:
    run(job, targets=["cpu", "t4"], plan={"Conv_second": "fp16", "Conv_gone": "int8"})
    report = read_report(job / "out" / "report.json")
    assert report.precision.plan is not None and report.precision.plan.refused == {"Conv_gone": "no such node"}
    assert sum("Conv_gone (no such node)" in warning for warning in report.warnings) == 2, "of each form"
    bundle = Bundle(job / "out")
    assert bundle.plan().nodes["Conv_second"].dtype is Dtype.FP16
    assert bundle.plan("cpu").nodes["Conv_second"].dtype is Dtype.FP32
    with pytest.raises(BadInput, match="of another model"):
        run(job, targets=["cpu"], plan={"Conv_gone": "int8"})
