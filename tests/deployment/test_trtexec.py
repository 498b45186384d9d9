"""The script that builds with trtexec: what it says of types and shapes, and that a shell reads it right."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from deployment.trtexec import build_script
from engines.profile import ShapeProfile, ShapeRange

PROFILE = ShapeProfile({"x": ShapeRange((1, 3), (8, 3), (32, 3)), "mask:0": ShapeRange((1,), (8,), (32,))})
TYPES = {"/a b/Conv": "int8", "/norm/Sqrt": "fp32", "it's": "fp32", "relu": "fp16", "tf:0": "fp32"}


def arguments(script: str, folder: Path) -> list[str]:
    """What trtexec would get, from a shell that runs the script with a stand-in."""
    (folder / "build.sh").write_text(script)
    (folder / "trtexec").write_text('#!/bin/sh\nfor argument in "$@"; do printf "%s\\n" "$argument"; done\n')
    (folder / "trtexec").chmod(0o755)
    command = ["sh", str(folder / "build.sh"), "--verbose"]
    path = {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(command, env=path, capture_output=True, text=True, check=True).stdout.split("\n")


def test_types_and_shapes_reach_trtexec(tmp_path: Path) -> None:
    script = build_script("model.onnx", "model.plan", TYPES, PROFILE)
    given = arguments(script, tmp_path)
    assert given[:4] == ["--onnx=model.onnx", "--saveEngine=model.plan", "--fp16", "--int8"]
    assert "--precisionConstraints=obey" in given
    assert "--layerPrecisions=/norm/Sqrt:fp32,it's:fp32" in given
    assert "--layerOutputTypes=/norm/Sqrt:fp32,it's:fp32" in given
    assert "--minShapes=x:1x3,'mask:0':1" in given and "--maxShapes=x:32x3,'mask:0':32" in given
    assert "--verbose" in given
    assert "1 nodes that should stay FP32 cannot be told" in script


def test_an_fp32_graph_needs_no_constraint(tmp_path: Path) -> None:
    given = arguments(build_script("m.onnx", "m.plan", {"a": "fp32"}, ShapeProfile({})), tmp_path)
    assert given[:3] == ["--onnx=m.onnx", "--saveEngine=m.plan", "--verbose"]


def test_long_lists_are_parted() -> None:
    types = {f"{'n' * 90}{i}": "fp32" for i in range(3000)} | {"relu": "fp16"}
    script = build_script("m.onnx", "m.plan", types, ShapeProfile({}))
    assert script.count("--layerPrecisions=") == 3
    assert max(len(line) for line in script.split("\n")) < 131_072
