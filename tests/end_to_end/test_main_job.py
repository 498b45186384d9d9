"""The main job, from a file on disk to a bundle, through the real command."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

from engines.open import open_engine
from optimizer import optimize as optimize_api
from tests.end_to_end.conftest import Command

QUICK = ("--data", "data.npz", "--loadgen", "none")


def report_of(folder: Path, name: str = "cnn.optimized") -> dict:
    return json.loads((folder / name / "report.json").read_text())


def test_int8_for_cpu_t4_and_a100_leaves_a_whole_bundle(folder: Path, process: Command) -> None:
    done = process("cnn.onnx", "--target", "cpu,t4,a100", "--data", "data.npz", "--duration", "0.3", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report == report_of(folder)
    assert report["status"] == "ok" and report["calibrated"] is True
    assert report["precision"]["int8_mac_share"] > 0.95
    assert report["accuracy"]["outputs"]["logits"]["sqnr_db"] > 20
    assert {name: t["status"] for name, t in report["targets"].items()} == {
        "cpu": "measured",
        "t4": "built",
        "a100": "built",
    }
    assert set(report["loadgen"]["cpu"]) == {"singlestream", "offline"}
    bundle = folder / "cnn.optimized"
    for name in ("model.onnx", "calibration.json", "precision.json", "report.html", "engines/t4/engine.plan"):
        assert (bundle / name).stat().st_size > 0
    manifest = json.loads((bundle / "manifest.json").read_text())
    files = {str(p.relative_to(bundle)) for p in bundle.rglob("*") if p.is_file()} - {"manifest.json"}
    assert set(manifest["files"]) == files
    for name, digest in manifest["files"].items():
        assert hashlib.sha256((bundle / name).read_bytes()).hexdigest() == digest
    for scenario in ("singlestream", "offline"):
        assert (bundle / report["loadgen"]["cpu"][scenario]["log_dir"] / "mlperf_log_detail.txt").is_file()
    assert not list(folder.glob("*.partial"))


def test_the_same_command_again_returns_the_same_bundle_at_once(folder: Path, optimize: Command) -> None:
    assert optimize("cnn.onnx", *QUICK).returncode == 0
    before = (folder / "cnn.optimized" / "manifest.json").stat().st_mtime_ns
    again = optimize("cnn.onnx", *QUICK)
    assert again.returncode == 0 and "already holds" in again.stderr
    assert (folder / "cnn.optimized" / "manifest.json").stat().st_mtime_ns == before
    changed = optimize("cnn.onnx", *QUICK, "--calibration", "minmax")
    assert changed.returncode == 0 and "already holds" not in changed.stderr


def test_a_target_that_cannot_be_built_here_makes_the_result_partial(folder: Path, optimize: Command) -> None:
    done = optimize("cnn.onnx", *QUICK, "--target", "cpu,h100")
    assert done.returncode == 4
    report = report_of(folder)
    assert report["status"] == "partial"
    assert report["targets"]["h100"]["status"] == "skipped" and report["targets"]["h100"]["reason"]
    assert report["targets"]["cpu"]["status"] == "measured"


def test_over_the_task_budget_is_exit_3(folder: Path, optimize: Command) -> None:
    (folder / "score.py").write_text(
        "calls = []\n"
        "def score(infer):\n"
        "    calls.append(1)\n"
        "    return {'metric': 'made up', 'value': 1.0 / len(calls)}\n"
    )
    done = optimize("cnn.onnx", *QUICK, "--evaluate", "score.py:score", "--target", "a100")
    assert done.returncode == 3, done.stderr
    report = report_of(folder)
    assert report["status"] == "over_budget" and "made up" in report["verdict"]["reasons"][0]
    assert report["accuracy"]["task"]["fp32"] == 1.0


def test_without_data_the_report_is_stamped_uncalibrated(folder: Path, optimize: Command) -> None:
    done = optimize("cnn.onnx", "--loadgen", "none", "--shape", "input=1x3x16x16:4x3x16x16:8x3x16x16")
    assert done.returncode == 0, done.stderr
    assert "uncalibrated" in done.stderr
    assert report_of(folder)["calibrated"] is False


def test_auto_falls_back_to_fp16_where_int8_is_over_budget(folder: Path, optimize: Command) -> None:
    (folder / "score.py").write_text(
        "import numpy as np\n"
        "def score(infer):\n"
        "    logits = infer({'input': np.load('data.npz')['input']})['logits']\n"
        "    reference = np.load('fp32.npy') if __import__('os').path.exists('fp32.npy') else logits\n"
        "    np.save('fp32.npy', reference)\n"
        "    return 1.0 - float(np.abs(logits - reference).max() > 2e-3)\n"
    )
    done = optimize("cnn.onnx", *QUICK, "--evaluate", "score.py:score", "--precision", "auto", "--target", "a100")
    assert done.returncode == 0, done.stderr
    nodes = report_of(folder)["precision"]["nodes"]
    assert nodes["int8"] == 0 and nodes["fp16"] > 0
    assert report_of(folder)["targets"]["a100"]["kept_precision"] == "fp16"


@pytest.mark.parametrize("precision", ["fp16", "fp32", "bf16"])
def test_float_precisions(folder: Path, optimize: Command, precision: str) -> None:
    done = optimize("cnn.onnx", *QUICK, "--precision", precision, "--target", "cpu,a100")
    assert done.returncode == 0, done.stderr
    report = report_of(folder)
    assert report["precision"]["nodes"]["int8"] == 0
    assert report["accuracy"]["outputs"]["logits"]["cosine"] > 0.999
    types = {t.data_type for t in onnx.load(folder / "cnn.optimized" / "model.onnx").graph.initializer}
    expected = {"fp16": onnx.TensorProto.FLOAT16, "fp32": onnx.TensorProto.FLOAT, "bf16": onnx.TensorProto.BFLOAT16}
    assert expected[precision] in types


def test_python_api_opens_the_cpu_engine(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    samples = np.load("data.npz")["input"]
    result = optimize_api("cnn.onnx", precision="int8", data="data.npz", targets=["cpu"], loadgen=())
    in_memory = optimize_api("cnn.onnx", data={"input": samples}, targets=["cpu"], loadgen=(), out="in_memory")
    assert in_memory.report.calibrated and in_memory.report.calibration["data"] == "samples in memory"
    with result.engine("cpu") as engine:
        outputs = engine.infer({"input": samples[:2]})
    assert outputs["logits"].shape == (2, 10)
    with open_engine(result.bundle / "engines" / "cpu") as engine:
        assert np.array_equal(engine.infer({"input": samples[:2]})["logits"], outputs["logits"])


def test_config_file_is_read_and_the_command_line_wins(folder: Path, optimize: Command) -> None:
    (folder / "job.toml").write_text('data = "data.npz"\nloadgen = "none"\nmax-drop = "2%"\ncalibration = "minmax"\n')
    done = optimize("cnn.onnx", "--config", "job.toml", "--calibration", "percentile")
    assert done.returncode == 0, done.stderr
    report = report_of(folder)
    assert report["calibration"]["method"] == "percentile" and report["accuracy"]["max_drop"] == 0.02


def _check_accuracy_again(folder: Path, optimize: Command) -> None:
    again = optimize("verify", "cnn.optimized", "--model", "cnn.onnx")
    assert again.returncode == 0 and "as reported" in again.stdout and "a100 accuracy: not re-checked" in again.stdout
    shutil.copytree(folder / "cnn.optimized", folder / "worse")
    report = folder / "worse" / "report.json"
    told = json.loads(report.read_text())
    told["targets"]["cpu"]["accuracy"]["logits"]["sqnr_db"] += 2.0
    report.write_text(json.dumps(told))
    worse = optimize("verify", "worse", "--model", "cnn.onnx")
    assert worse.returncode == 1 and "where the report says" in worse.stdout
    other = optimize("verify", "cnn.optimized", "--model", "cnn.optimized/model.onnx")
    assert other.returncode == 2 and "is not the model" in other.stderr


def test_the_verbs_read_the_bundle(folder: Path, optimize: Command) -> None:
    assert optimize("cnn.onnx", *QUICK, "--target", "cpu,a100").returncode == 0
    explained = json.loads(optimize("explain", "cnn.optimized", "--json").stdout)
    assert {"int8"} <= {node["dtype"] for node in explained["nodes"].values()}
    assert all(node["reason"] for node in explained["nodes"].values())
    inspected = json.loads(optimize("inspect", "cnn.onnx", "--json").stdout)
    assert inspected["ops"]["Conv"] == 2 and inspected["flops"] > 0
    own = {domain.domain: domain.version for domain in onnx.load(folder / "cnn.onnx").opset_import}
    assert inspected["opset"] == own[""], "the file's, not the one it is worked on in"
    verified = json.loads(optimize("verify", "cnn.optimized", "--json").stdout)
    assert verified["ok"] is True
    _check_accuracy_again(folder, optimize)
    benched = json.loads(
        optimize("bench", "cnn.optimized", "--scenario", "offline", "--duration", "0.5", "--json").stdout
    )
    assert benched["loadgen"]["cpu"]["offline"]["value"] > 0
    compared = json.loads(optimize("compare", "cnn.onnx", "cnn.optimized", "--data", "data.npz", "--json").stdout)
    assert compared["accuracy"]["outputs"]["logits"]["cosine"] > 0.99
    (folder / "cnn.optimized" / "model.onnx").write_bytes(b"changed")
    damaged = optimize("verify", "cnn.optimized", "--json")
    checks = {check["name"]: check for check in json.loads(damaged.stdout)["checks"]}
    assert damaged.returncode == 1 and checks["files"]["detail"] == "changed or missing: model.onnx"
    assert "not an ONNX file, or truncated" in checks["cpu"]["detail"] and "\n" not in checks["cpu"]["detail"]
    explained = optimize("explain", "cnn.optimized")
    assert explained.returncode == 2 and "not an ONNX file, or truncated" in explained.stderr
