"""The main job on a machine with a GPU, by stand-ins under the real names (``tests.gpu_machine``): built, proved,
measured and put under load like the CPU's engine; and everything that can go wrong there told in a line.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import optimizer.stages.chain as chain
import optimizer.stages.engines.baseline as baseline
from benchmarks.plaster.measure import StudySettings
from benchmarks.report.model import Report, read_report
from engines.errors import EngineError
from graphs.errors import BadInput
from optimizer import optimize as optimize_api
from optimizer.bundle import Bundle
from optimizer.cli.process.running import EXIT_CODES
from optimizer.settings.job import Settings
from optimizer.verbs.compare.sides import compare_sides
from optimizer.verbs.explain.bundle import explain_bundle
from optimizer.verbs.plaster import plaster_study
from studies.gpu_check.page import Conditions, Ran, page
from tests.end_to_end.conftest import Command, command
from tests.gpu_machine import environment, in_this_process

Job = Callable[..., Report]


def run(folder: Path, *arguments: str, **faults: str) -> subprocess.CompletedProcess[str]:
    given = environment(folder / ".cache", **faults)
    return subprocess.run(command(*arguments), cwd=folder, env=given, capture_output=True, text=True, timeout=300)


@pytest.fixture
def machine(folder: Path, quick: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """This process on that machine, with everything that is timed cut short; ``machine(crash="int8")`` has it fail."""

    def fails(**faults: str) -> None:
        for name, value in environment(folder / ".cache", **faults).items():
            monkeypatch.setenv(name, value)

    fails()
    with in_this_process():
        yield fails


def test_the_gpu_is_a_target_like_the_cpu(folder: Path, machine: object, optimize: Command) -> None:
    done = optimize("cnn.onnx", "--data", "data.npz", "--duration", "0.3", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert set(report["targets"]) == {"cpu", "a100"}, "native is a target where a GPU is"
    gpu = report["targets"]["a100"]
    assert gpu["status"] == "measured" and gpu["backend"] == "tensorrt" and not gpu["reason"]
    assert gpu["accuracy_simulated"] is False and gpu["accuracy"]["logits"]["sqnr_db"] > 20
    assert gpu["kept_precision"] == "int8" and "x of FP16 and" in gpu["why"] and "NVIDIA A100" in gpu["why"]
    assert gpu["speedup_vs_fp32"] > 1.5 and gpu["latency_ms"]["p50"] < gpu["fp32_latency_ms"]["p50"]
    assert gpu["prediction"]["throughput"] > 0, "what was expected stands beside what was measured"
    for scenario in ("singlestream", "offline"):
        assert report["loadgen"]["a100"][scenario]["valid"], report["loadgen"]["a100"][scenario]["reasons"]
    assert not any("fails" in note for note in report["loadgen"]["a100"]["offline"]["notes"]), "its profile ends at 32"
    assert report["loadgen"]["cpu"]["offline"]["valid"]
    bundle = folder / "cnn.optimized"
    assert (bundle / "loadgen" / "a100" / "offline" / "mlperf_log_detail.txt").is_file()
    assert (bundle / "engines" / "a100" / "engine.plan").is_file() and not (
        bundle / "engines/a100/precision.json"
    ).exists()
    assert "Time by operator, a100" in (bundle / "report.html").read_text(), "from the library's profiler"
    verified = run(folder, "verify", "cnn.optimized", "--json")
    checks = {check["name"]: check["detail"] for check in json.loads(verified.stdout)["checks"]}
    assert verified.returncode == 0 and "every output finite" in checks["a100"]
    crashed = run(folder, "verify", "cnn.optimized", "--json", crash="int8")
    (found,) = (check for check in json.loads(crashed.stdout)["checks"] if check["name"] == "a100")
    assert crashed.returncode == 1 and "SIGSEGV" in found["detail"]
    text = page(Conditions("", "", "", "", {}), [Ran("cnn", read_report(bundle / "report.json"))])
    assert all(f"\n| {form} | " in text for form in ("fp32", "fp16", "int8")), "docs/measurements are made of this"
    benched = run(folder, "bench", "cnn.optimized", "--target", "native", "--duration", "0.3", "--json")
    assert json.loads(benched.stdout)["loadgen"]["native"]["singlestream"]["valid"], benched.stderr


@pytest.fixture
def job(folder: Path, machine: Callable[..., None]) -> Job:
    """``job(crash="int8")`` runs the main job for the GPU in this process."""

    def optimized(**faults: str) -> Report:
        machine(**faults)
        options: dict[str, Any] = {"targets": ["native"], "data": str(folder / "data.npz"), "loadgen": ()}
        return optimize_api(folder / "cnn.onnx", out=folder / "out", **options).report

    return optimized


def test_a_slower_int8_engine_never_ships(job: Job, folder: Path) -> None:
    report = job(slow="int8", refuse="fp32", energy="all")
    gpu = report.targets["a100"]
    assert report.status == "ok" and gpu.status == "measured" and gpu.kept_precision == "fp16"
    assert gpu.why.startswith("INT8 ran at 0.") and "of FP16 on this NVIDIA A100" in gpu.why
    assert gpu.speedup_vs_fp32 is None, "there is no FP32 engine to compare with"
    assert any("no FP32 engine to compare with" in warning and "\n" not in warning for warning in report.warnings)
    plan = Bundle(folder / "out").plan("a100")
    assert plan.computes_in == "fp16" and any(gpu.why.startswith(node.reason) for node in plan.nodes.values())
    assert gpu.quantized_costs is not None and gpu.why.endswith(gpu.quantized_costs.sentence)
    assert Bundle(folder / "out").plan().computes_in == "int8", "model.onnx is still what was asked for"
    assert report.plaster is not None and "Not Supported" in report.plaster.energy.how


def test_a_crash_and_a_wrong_answer_cost_their_form(job: Job) -> None:
    report = job(crash="int8", wrong="fp16")
    gpu = report.targets["a100"]
    assert report.status == "ok" and gpu.kept_precision == "fp32" and gpu.status == "measured"
    assert "INT8 does not run on this NVIDIA A100" in gpu.why and "SIGSEGV" in gpu.why
    assert any("the INT8 engine does not run" in warning for warning in report.warnings)


def test_no_memory_for_any_form_is_told_and_the_engine_is_there(job: Job, folder: Path) -> None:
    report = job(memory="int8,fp16,fp32")
    gpu = report.targets["a100"]
    assert report.status == "partial" and EXIT_CODES[report.status] == 4
    assert gpu.status == "built" and "out of GPU memory" in gpu.reason and "\n" not in gpu.reason
    assert gpu.accuracy_simulated and gpu.kept_precision == "int8"
    assert any("out of GPU memory" in reason for reason in report.verdict.reasons)
    assert (folder / "out" / "engines" / "a100" / "engine.plan").is_file()


def test_what_cannot_be_built_or_is_of_another_version_is_passed_over(job: Job) -> None:
    report = job(refuse="int8", foreign="fp16")
    gpu = report.targets["a100"]
    assert report.status == "ok" and gpu.kept_precision == "fp32"
    assert (
        "INT8 could not be built" in gpu.why
        and "no kernel of this GPU runs the node" in gpu.why
        and "\n" not in gpu.why
    )
    assert any("the FP16 engine does not run" in w and "was built by tensorrt 10.0.0.0" in w for w in report.warnings)


def test_an_engine_that_is_not_what_was_simulated_is_named(job: Job) -> None:
    report = job(coarse="int8")
    assert report.targets["a100"].kept_precision == "int8"
    (warning,) = (text for text in report.warnings if "were simulated of its graph" in text)
    assert re.search(r"output 'logits' has (29|30|31)\.", warning) and "60.0 dB were simulated" in warning
    assert report.accuracy is not None
    assert 29 < (report.accuracy.outputs["logits"].sqnr_db or 0) < 32, "the report's figure is the engine's own"


def test_where_every_form_is_wrong_the_job_is_over_budget(job: Job) -> None:
    report = job(wrong="int8,fp16,fp32")
    assert report.status == "over_budget" and report.targets["a100"].kept_precision == "int8"
    assert "over the accuracy budget" in report.targets["a100"].why


def test_a_model_that_no_form_is_built_of_is_bad_input_as_ever(job: Job) -> None:
    with pytest.raises(BadInput, match="no asked target takes this model"):
        job(unparsed="int8,fp16,fp32")


def test_an_interrupted_job_measures_nothing_twice(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(chain, "assemble", interrupted)
        with pytest.raises(KeyboardInterrupt):
            job(slow="int8", refuse="fp32")
    report = job(slow="int8", refuse="fp32")
    assert {"build", "siblings-a100", "check-a100", "measure-a100"} <= set(report.kept)
    assert report.targets["a100"].kept_precision == "fp16" and report.targets["a100"].forms["fp32"].failed
    assert any("no FP32 engine to compare with" in warning for warning in report.warnings), "told again"


def test_onnx_runtimes_provider_is_a_row_to_compare_with(
    job: Job, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its CPU provider stands in for the CUDA one; the way from a manifest to a session is the real one."""
    monkeypatch.setattr(chain, "baseline_here", lambda: True)
    monkeypatch.setattr(baseline, "CUDA", "CPUExecutionProvider")
    report = job()
    beside = report.targets["onnxruntime-cuda"]
    assert beside.status == "measured" and set(beside.forms) == {"fp32", "fp16"} and beside.throughput
    assert beside.notes == ["a baseline to compare with: no bundle holds it"]
    assert not (folder / "out" / "engines" / "onnxruntime-cuda").exists()
    assert report.plaster is not None and "a100" in report.plaster.accuracy.how


def test_the_study_of_precisions_runs_on_the_gpu(job: Job, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``optimize plaster``: each variant ships what it was asked in, and no siblings are built for it."""
    for name, value in environment(folder / ".cache", slow="int8").items():
        monkeypatch.setenv(name, value)
    settings = Settings(data=str(folder / "data.npz"))
    measuring_ = StudySettings(seconds=0.1, duration=0)
    study = plaster_study(folder / "cnn.onnx", settings, measuring_, folder / "study", variants=("fp32", "int8"))
    assert study.target == "a100"
    ran = {variant.name: variant.ran for variant in study.variants}
    assert ran["int8"].startswith("INT8 in tensorrt") and ran["fp32"].startswith("FP32 in tensorrt")


def test_the_layer_that_differs_is_named(job: Job, folder: Path) -> None:
    report = job(operator="int8:Conv_second")
    (warning,) = (text for text in report.warnings if "were simulated of its graph" in text)
    assert "the node that differs is 'Conv_second' (Conv, int8)" in warning
    form = report.targets["a100"].forms["int8"]
    assert form.first_difference is not None and form.first_difference.node == "Conv_second"
    assert form.first_difference.stands_out and form.first_difference.sqnr_db < 30
    assert "'Conv_second' (Conv, int8)" in (folder / "out" / "report.html").read_text().replace("&#39;", "'")
    assert "'Conv_second'" in explain_bundle(folder / "out", None).differs["a100"]
    assert explain_bundle(folder / "out", "Conv_first").differs == {}, "another node's rows do not speak of it"


def test_two_bundles_are_compared_on_the_gpu_in_processes_of_their_own(
    job: Job, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job(slow="int8", refuse="fp32")
    first, second = folder / "out", folder / "copied"
    shutil.copytree(first, second)
    found = compare_sides(first, second, str(folder / "data.npz"), 4)
    assert found.target == "a100" and found.accuracy is not None and found.accuracy.sqnr_db == 200
    assert found.first is not None and found.first.latency_ms.p50 > 1 and found.steadiness is not None
    assert found.speedup == pytest.approx(1, rel=0.3), "a copy is as fast"
    monkeypatch.setenv("STAND_IN_FAULTS", json.dumps({"crash": "fp16"}))
    with pytest.raises(EngineError, match="SIGSEGV"):
        compare_sides(first, second, "random", 4)
