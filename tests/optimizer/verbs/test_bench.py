"""``optimize bench`` as a user runs it: one JSON document of the report's shape, clear errors, honest exit codes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engines.build import BuildRequest, build_engine
from engines.profile import ShapeProfile
from engines.targets.target import CPU
from graphs.errors import BadInput
from graphs.files import write_json
from optimizer.bundle import BundleManifest
from optimizer.cli.main import main
from optimizer.verbs.bench.subject import find_subject
from tests.benchmarks.workloads.graphs_for_tests import colour_classifier


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of three colours, and a dataset of which it gets two thirds right."""
    place = tmp_path_factory.mktemp("bench")
    colour_classifier(place / "m.onnx")
    for number, colour in enumerate([(250, 0, 0), (0, 250, 0), (0, 0, 250)]):
        Image.new("RGB", (256, 256), colour).save(place / f"{number}.png")
    (place / "val_map.txt").write_text("0.png 0\n1.png 100\n2.png 999\n")
    return place


def bench(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as exit_:
        main(["bench", *arguments])
    captured = capfd.readouterr()
    return int(exit_.value.code or 0), captured.out, captured.err


def test_accuracy_against_targets_and_fp32(place: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model = str(place / "m.onnx")
    task = ["--workload", "resnet50", "--dataset", str(place), "--accuracy", "--scenario", "offline", "--json"]
    code, out, _ = bench(capfd, model, *task, "-o", str(tmp_path / "logs"))
    report = json.loads(out)
    assert (code, report["status"]) == (3, "over_budget"), "valid, but MLPerf's 75.7 % are missed"
    run = report["loadgen"]["cpu"]["offline"]
    accuracy = run["workload"]["accuracy"]
    assert run["valid"] and accuracy["value"] == pytest.approx(2 / 3)
    assert not accuracy["targets"][0]["met"] and "misses 99 %" in report["verdict"]["reasons"][0]
    assert "not an MLPerf result" in run["workload"]["notice"]
    assert (tmp_path / "logs" / "mlperf_log_accuracy.json").is_file()
    code, out, _ = bench(capfd, model, *task, "--reference", model)
    assert code == 0
    assert json.loads(out)["loadgen"]["cpu"]["offline"]["workload"]["accuracy"]["own_fp32"]


def test_the_json_has_the_shape_that_readers_know(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code, out, err = bench(capfd, str(place / "m.onnx"), "--duration", "0.5", "--json")
    report = json.loads(out)
    assert (code, report["status"], err) == (0, "ok", "")
    run = report["loadgen"]["cpu"]["singlestream"]
    assert {"valid", "metric", "value", "reasons", "p50", "p90", "p99", "samples", "duration_s", "log_dir"} <= set(run)
    assert report["model"]["parameters"] == 3000 and report["model"]["bytes"] > 0


def test_an_invalid_run_says_why_and_exits_with_one(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    options = ["--scenario", "server", "--qps", "200", "--server-latency", "0.001", "--duration", "0.5"]
    code, out, _ = bench(capfd, str(place / "m.onnx"), *options)
    assert code == 1
    assert "INVALID" in out and "is over the bound of 0.001 ms at 200 qps; try about" in out
    code, out, _ = bench(capfd, str(place / "m.onnx"), *options, "--json")
    report = json.loads(out)
    assert (code, report["status"], report["verdict"]["ok"]) == (1, "invalid", False)
    assert not report["loadgen"]["cpu"]["server"]["valid"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--workload", "resnet50"], "--workload and --dataset go together"),
        (["--accuracy"], "--accuracy: needs to know the task"),
        (["--mlperf"], "--mlperf: needs to know the task"),
        (["--search"], "--search: searches rates and batches"),
        (["--qps", "many"], "--qps: 'many' is not a rate"),
        (["--duration", "0"], "--duration: 0 is too little"),
        (["--instances", "0"], "--instances: 0 is too little"),
        (["--triton", "http://127.0.0.1:8000/m"], "is asked over gRPC alone"),
        (["--triton", "grpc://127.0.0.1/m"], "grpc://127.0.0.1/m: names no model on a server"),
        (["--scenario", "burst"], "--scenario: unknown value 'burst'"),
        (["--workload", "resnet9", "--dataset", "."], "no workload 'resnet9'"),
        (["--workload", "bert", "--dataset", "."], "LoadGen run"),
        (["--triton", "localhost"], "names no model on a server"),
    ],
)
def test_bad_options_are_one_clear_error(
    options: list[str], message: str, place: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code, _, err = bench(capfd, str(place / "m.onnx"), *options)
    assert code == 2, err
    assert message in err


def test_only_what_can_be_measured_is_taken(place: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such bundle"):
        find_subject(tmp_path / "nothing", "cpu")
    with pytest.raises(BadInput, match="is nothing to measure"):
        find_subject(tmp_path, "cpu")
    assert find_subject(place / "m.onnx", "cpu").engine.endswith("m.onnx")
    assert find_subject(place / "m.onnx", None, "grpc://a:1/m").name == "triton"
    assert np.isfinite(find_subject(place / "m.onnx", "cpu").report.model.bytes)


@pytest.mark.parametrize(
    ("precision", "calibrated", "on", "free"),
    [("int8", True, "calib/ (64 files)", False), ("int8", False, "", True), ("fp32", True, "", False)],
)
def test_the_facts_are_the_engines(precision: str, calibrated: bool, on: str, free: bool, tmp_path: Path) -> None:
    """Asked for was int8; the CPU's engine may ship FP32, which no data was needed for."""
    model = colour_classifier(tmp_path / "model.onnx")
    build_engine(BuildRequest(model, CPU, ShapeProfile({}), tmp_path / "engines" / "cpu", precision), cache=False)
    write_json(tmp_path / "manifest.json", BundleManifest("", "", "", "", {}))
    report = find_subject(tmp_path / "model.onnx", "cpu").report
    asked = replace(report.precision, requested="int8")
    made_on = {"data": "calib/ (64 files)"}
    write_json(tmp_path / "report.json", replace(report, precision=asked, calibrated=calibrated, calibration=made_on))
    facts = find_subject(tmp_path, "cpu").facts
    assert (facts.calibrated_on, facts.data_free) == (on, free)
