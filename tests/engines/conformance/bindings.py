"""NVIDIA's bindings of full TensorRT, importable without TensorRT: the wheel over nine stub symbols."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

REQUIREMENT = "tensorrt-cu13-bindings==11.4.0.106"
HERE = Path(__file__).parent
STUBBED = ("nvinfer", "nvinfer_plugin", "nvonnxparser")


def dump(module: str, environment: dict[str, str] | None = None) -> dict[str, Any]:
    """Version and names of a bindings module, read in a process of its own."""
    command = [sys.executable, str(HERE / "dump_bindings.py"), module]
    done = subprocess.run(command, env={**os.environ, **(environment or {})}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    described: dict[str, Any] = json.loads(done.stdout)
    return described


def dump_tensorrt(work: Path) -> dict[str, Any]:
    """The 11.4 bindings, from the installed wheel or one that pip fetches into ``work``. Skips where neither works."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler for the nine-symbol stub")
    for name in STUBBED:
        library = work / f"lib{name}.so.11"
        command = [compiler, "-shared", "-fPIC", f"-Wl,-soname,{library.name}", "-o", str(library)]
        subprocess.run([*command, str(HERE / "nine_symbols.c")], check=True)
    paths = [str(_wheel_folder(work)), os.environ.get("PYTHONPATH", "")]
    return dump("tensorrt_bindings", {"LD_LIBRARY_PATH": str(work), "PYTHONPATH": os.pathsep.join(filter(None, paths))})


def _wheel_folder(work: Path) -> Path:
    spec = importlib.util.find_spec("tensorrt_bindings")
    if spec is not None and spec.origin is not None:
        return Path(spec.origin).parent.parent
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", "-d", str(work)]
    done = subprocess.run([*command, REQUIREMENT], capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"pip could not fetch {REQUIREMENT}: {done.stderr.strip().splitlines()[-1:]}")
    folder = work / "bindings"
    with zipfile.ZipFile(next(work.glob("*.whl"))) as wheel:
        wheel.extractall(folder)
    return folder
