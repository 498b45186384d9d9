"""Build options by flag, config file and API, down to the engine's manifest, and the verbs that show what was built."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from engines.manifest import EngineManifest
from graphs.errors import BadInput
from optimizer.finished import request_key
from optimizer.main_job import apply_options
from optimizer.settings.job import Settings
from tests.end_to_end.conftest import Command

QUICK = ("--data", "data.npz", "--loadgen", "none", "--precision", "fp16")
WIDE = ("--shape", "input=1x3x16x16:2x3x16x16:4x3x16x16", "--shape", "input=8x3x16x16:16x3x16x16:32x3x16x16")


def test_options_reach_the_engine_and_the_verbs_show_it(folder: Path, optimize: Command) -> None:
    (folder / "job.toml").write_text("build-time-limit = 300\n[builder-options]\ntf32 = false\n")
    options = ("--optimization-level", "2", "--builder-option", "strict-nans=on", "--config", "job.toml")
    done = optimize("cnn.onnx", *QUICK, *WIDE, *options, "--target", "a100")
    assert done.returncode == 0, done.stderr
    assert "warning: a100: option optimization_level=2 is not used by TensorRT-RTX" in done.stderr
    manifest = EngineManifest.load(folder / "cnn.optimized" / "engines" / "a100")
    assert manifest.options == {"tf32": "off", "optimization_level": "2", "strict_nans": "on"}
    assert len(manifest.profiles) == 2
    report = json.loads((folder / "cnn.optimized" / "report.json").read_text())
    assert any("optimization_level" in note for note in report["targets"]["a100"]["notes"])

    inspected = json.loads(optimize("inspect", "cnn.optimized", "--json").stdout)
    assert inspected["engines"]["a100"]["layers"]["kernels"] > 0
    assert len(inspected["engines"]["a100"]["profiles"]) == 2

    assert optimize("cnn.onnx", *QUICK[:-1], "int8", "--target", "a100", "-o", "int8").returncode == 0
    compared = json.loads(optimize("compare", "cnn.optimized", "int8", "--json").stdout)
    difference = compared["engines"]["a100"]
    assert any(line.startswith("precision: fp16 against int8") for line in difference["settings"])
    assert difference["layers"]["first"]["int8"] == 0 < difference["layers"]["second"]["int8"]
    assert difference["layers"]["changes"]
    table = json.loads(optimize("inspect", "int8", "--layers", "a100", "--json").stdout)
    plan = json.loads((folder / "int8" / "precision.json").read_text())["nodes"]
    node = next(name for layer in table for name in layer["onnx_nodes"] if name in plan)
    explained = optimize("explain", "int8", "--node", node).stdout
    assert "engine a100" in explained and "kernels that run it" in explained


@pytest.mark.parametrize(
    "arguments",
    [
        ("--builder-option", "tf32"),
        ("--builder-option", "tf32=perhaps"),
        ("--optimization-level", "7"),
        ("--workspace", "0"),
        ("--plugin", "absent.so"),
        ("--build-time-limit", "0"),
        ("--shape", "input=8x3x16x16:2x3x16x16:4x3x16x16"),
        ("--builder-option", "no_such_option=1", "--target", "a100"),
    ],
)
def test_wrong_options_are_one_error(folder: Path, optimize: Command, arguments: tuple[str, ...]) -> None:
    done = optimize("cnn.onnx", *QUICK, *arguments)
    assert done.returncode == 2, done.stderr
    assert "expected" in done.stderr and "Traceback" not in done.stderr
    assert not (folder / "cnn.optimized").exists()


def test_the_api_takes_options_as_a_mapping() -> None:
    chosen = apply_options(Settings(), {"builder_options": {"tf32": False, "workspace_mb": 64, "refit": True}})
    assert chosen.tensorrt_options == {"tf32": "off", "workspace_mb": "64", "refit": "on"}
    with pytest.raises(BadInput, match="cannot be read"):
        apply_options(Settings(), {"builder_options": ["tf32"]})


def test_a_request_is_told_by_bytes_and_settings(folder: Path) -> None:
    base = Settings(data=str(folder / "data.npz"))
    key = request_key(folder / "cnn.onnx", base)
    assert key == request_key(folder / "cnn.onnx", base)
    assert request_key(folder / "cnn.onnx", Settings(data=base.data, builder_options=("tf32=off",))) != key
    np.savez(folder / "data.npz", input=np.zeros((4, 3, 16, 16), np.float32))
    assert request_key(folder / "cnn.onnx", base) != key
    assert request_key(folder / "cnn.onnx", Settings(data="module:function")) == "", "a function has no bytes"
