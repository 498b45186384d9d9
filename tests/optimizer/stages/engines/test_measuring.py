"""Which form of an engine ships, and what its plan then says: decided from figures, without a GPU."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

import benchmarks.timing.child as child
from benchmarks.accuracy.compare import Accuracy, OutputAccuracy
from benchmarks.in_flight import DeviceLatency
from benchmarks.measurement import Throughput
from benchmarks.report.updated import CalibrationCheck
from benchmarks.timing.child import FormTimes, TimingRequest, time_in_child
from engines.errors import EngineError
from engines.profile import ShapeProfile
from engines.targets.gpus_here import Gpu
from engines.targets.target import TARGETS
from optimizer.precision import Dtype, NodePrecision, PrecisionPlan
from optimizer.stages.engines.as_before import gpu_as_before
from optimizer.stages.engines.candidates import Candidate, Candidates
from optimizer.stages.engines.checking import EngineChecks, unlike
from optimizer.stages.engines.measuring import Measured, _choice, shipped_form
from optimizer.stages.engines.record import EngineRecord, choose_form
from optimizer.stages.engines.runnable import runnable
from optimizer.stages.forms.accuracy_check import AccuracyCheck

FORMS = ("fp32", "fp16", "int8")
GOOD, BAD = AccuracyCheck(Accuracy(1)), AccuracyCheck(Accuracy(1), ok=False, reasons=["top-1 fell"])


def rates(**samples_per_s: float) -> dict[str, Throughput]:
    return {form: Throughput(rate, 8, 10, 0.0) for form, rate in samples_per_s.items()}


@pytest.mark.parametrize(
    ("throughput", "refused", "kept"),
    [
        (rates(fp32=100, fp16=200, int8=300), {}, "int8"),
        (rates(fp32=100, fp16=200, int8=201), {}, "fp16"),  # less than a fiftieth is no gain
        (rates(fp32=100, fp16=90, int8=95), {}, "fp32"),
        (rates(fp32=100, fp16=90, int8=120), {}, "int8"),
        (rates(fp32=100, fp16=200, int8=300), {"int8": "over the budget"}, "fp16"),
        (rates(int8=300), {"fp32": "not built", "fp16": "not built"}, "int8"),
    ],
)
def test_the_fastest_that_may_ship_does(throughput: dict[str, Throughput], refused: dict[str, str], kept: str) -> None:
    form, why = choose_form(FORMS, throughput, refused, "this GPU")
    assert form == kept and why


def test_why_sets_the_form_asked_for_beside_the_others() -> None:
    _, why = choose_form(FORMS, rates(fp32=100, fp16=200, int8=300), {}, "this GPU")
    assert why == "INT8 ran at 1.50x of FP16 and 3.00x of FP32 on this GPU"
    assert choose_form(FORMS, rates(fp32=1), {"int8": "it crashed"}, "")[1] == "it crashed"
    assert choose_form(("fp32",), rates(fp32=1), {}, "") == ("fp32", "")


def plan(dtype: Dtype) -> PrecisionPlan:
    return PrecisionPlan({"conv": NodePrecision(dtype, "as made"), "softmax": NodePrecision(Dtype.FP32, "overflows")})


def found(**refused: str) -> Candidates:
    dtypes = {"fp32": Dtype.FP32, "fp16": Dtype.FP16, "int8": Dtype.INT8}
    built = {f: Candidate(Path(f), plan(dtypes[f]), 0.0, None, Path(f)) for f in FORMS if f not in refused}
    return Candidates("int8", plan(Dtype.INT8), built, refused)


def chosen(times: FormTimes, checked: EngineChecks, *, asked_only: bool = False, **refused: str) -> tuple[str, str]:
    return _choice(found(**refused), checked, times, asked_only, "GPU")


ALL_GOOD = EngineChecks(dict.fromkeys(FORMS, GOOD), {})
TIMES = FormTimes(throughput=rates(fp32=100, fp16=200, int8=300))


def test_a_form_that_could_not_be_timed_does_not_ship_where_another_was() -> None:
    times = FormTimes(throughput=rates(fp16=200, int8=300), failed={"fp32": "the GPU was full"})
    assert chosen(times, ALL_GOOD)[0] == "int8"
    times = FormTimes(throughput=rates(fp32=100, fp16=200), failed={"int8": "the GPU was full"})
    assert chosen(times, ALL_GOOD) == ("fp16", "INT8 could not be timed on this GPU: the GPU was full")
    times = FormTimes(failed=dict.fromkeys(FORMS, "the driver went away"))
    assert chosen(times, ALL_GOOD)[0] == "int8", "as built, where nothing is known of any"


def test_the_form_that_ships_is_chosen_by_what_the_gpu_computes() -> None:
    """Seen on an H200: a batch of 32 images takes four times as long to copy as to compute."""
    device = {form: DeviceLatency(3.0, ms, 0.1, 10) for form, ms in {"fp32": 4.0, "fp16": 2.0, "int8": 1.0}.items()}
    times = FormTimes(8, throughput=rates(fp32=100, fp16=101, int8=102), device_batch=device)
    assert chosen(times, ALL_GOOD) == (
        "int8",
        "INT8 ran at 2.00x of FP16 and 4.00x of FP32 on this GPU, by its kernels alone; "
        "1.01x of FP16 and 1.02x of FP32 fed from host memory",
    )
    untold = replace(times, device_batch={"int8": device["int8"]})
    assert "kernels alone" not in chosen(untold, ALL_GOOD)[1], "what is compared is told for all forms, or not at all"


def test_what_is_refused_says_why() -> None:
    assert chosen(TIMES, replace(ALL_GOOD, checks={**ALL_GOOD.checks, "int8": BAD})) == (
        "fp16",
        "INT8 on this GPU is over the accuracy budget: top-1 fell",
    )
    crashed = EngineChecks({"fp32": GOOD, "fp16": GOOD}, {"int8": "SIGSEGV"})
    assert chosen(TIMES, crashed) == ("fp16", "INT8 does not run on this GPU: SIGSEGV")
    assert chosen(TIMES, EngineChecks(dict.fromkeys(FORMS, BAD), {}))[0] == "int8", (
        "all over the budget: the one asked for"
    )


def test_what_was_asked_for_in_any_case_ships_if_it_runs() -> None:
    slow = FormTimes(throughput=rates(fp32=100, fp16=200, int8=50))
    assert chosen(slow, ALL_GOOD, asked_only=True) == ("int8", "int8 was asked for")


@pytest.mark.parametrize(
    ("unchanged", "before", "alone"),
    [
        (True, CalibrationCheck(True, "it fits"), True),
        (True, None, True),
        (True, CalibrationCheck(False, "ranges moved"), False),
        (False, None, False),
    ],
)
def test_an_update_builds_no_siblings_where_what_won_before_fits(
    unchanged: bool, before: CalibrationCheck | None, alone: bool
) -> None:
    job, typed = (
        SimpleNamespace(kept=SimpleNamespace(unchanged=unchanged, name="before")),
        SimpleNamespace(before=before),
    )
    assert bool(gpu_as_before(job, typed)) is alone  # type: ignore[arg-type]
    assert not gpu_as_before(SimpleNamespace(kept=None), typed)  # type: ignore[arg-type]


def test_the_plan_of_a_sibling_says_why_at_every_node_that_differs() -> None:
    record = EngineRecord("fp16", "INT8 ran at 0.50x of FP16", 1, {}, {}, [])
    form = shipped_form(found(), Measured("fp16", record), ALL_GOOD)
    assert form is not None
    assert [node.reason for node in form.plan.nodes.values()] == ["INT8 ran at 0.50x of FP16", "overflows"]
    unbuilt = shipped_form(found(int8="no kernel"), Measured("fp16", record), ALL_GOOD)
    assert unbuilt is not None and unbuilt.plan.nodes["conv"].reason == "INT8 ran at 0.50x of FP16"
    asked = shipped_form(found(), Measured("int8", record), ALL_GOOD)
    assert asked is not None and asked.plan == plan(Dtype.INT8)
    assert shipped_form(found(), Measured("int8", None, "crashed"), ALL_GOOD) is None


def accuracy(**sqnr_db: float) -> Accuracy:
    return Accuracy(4, {name: OutputAccuracy(1.0, db, 0.1, 1.0, "argmax") for name, db in sqnr_db.items()})


def test_an_engine_unlike_its_simulation_is_named_by_its_worst_output() -> None:
    assert unlike(accuracy(a=30.0, b=41.0), accuracy(a=30.9, b=41.5)) == ""
    said = unlike(accuracy(a=30.0, b=38.0), accuracy(a=30.9, b=41.5))
    assert "output 'b' has 38.0 dB" in said and "41.5 dB were simulated" in said
    assert unlike(accuracy(a=95.0), accuracy(a=62.0)) == "", "both are the rounding of float16"
    assert unlike(accuracy(a=44.0), accuracy(a=41.0)) != "", "better than simulated is not as simulated, either"


def test_only_the_gpu_that_is_here_is_measured() -> None:
    here = Gpu(0, "NVIDIA H200", (9, 0), 141000, "580.1")
    asked = [TARGETS[name] for name in ("cpu", "h100", "h200", "t4")]
    assert runnable(asked, here) == [TARGETS["h200"]], "an H100's plan runs on it, and says nothing of an H100"
    assert runnable(asked, None) == []
    rtx5090 = Gpu(0, "NVIDIA GeForce RTX 5090", (12, 0), 32000, "580.1")
    assert runnable([TARGETS["blackwell"]], rtx5090) == [TARGETS["blackwell"]], "another name of the same board"


def test_where_three_engines_are_too_much_each_is_timed_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def run(request: TimingRequest, _: Path) -> FormTimes:
        asked.append(list(request.engines))
        if len(request.engines) > 1 or "fp32" in request.engines:
            raise EngineError("was ended by SIGKILL")
        (form,) = request.engines
        return FormTimes(throughput=rates(**{form: 1.0}), notes=[form])

    monkeypatch.setattr(child, "_run", run)
    times = time_in_child({form: Path(form) for form in FORMS}, {}, ShapeProfile({}), None, seconds=1.0)
    assert asked == [["fp32", "fp16", "int8"], ["fp32"], ["fp16"], ["int8"]]
    assert set(times.throughput) == {"fp16", "int8"} and times.notes == ["fp16", "int8"]
    assert times.failed == {"fp32": "was ended by SIGKILL"} and times.steadiness is None
