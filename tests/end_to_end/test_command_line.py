"""The command's manners: fast help, one JSON document, the doctor."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.end_to_end.conftest import ROOT, Command, command


def test_help_needs_no_heavy_library(optimize: Command) -> None:
    """Importing numpy, onnx or rich would be what makes it slow; a clock would only measure the machine."""
    code = (
        "import sys; sys.argv = ['optimize', 'model', '--help']\n"
        "from optimizer.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'numpy', 'onnx', 'onnx_ir', 'onnxruntime', 'rich', 'scipy', 'tensorrt'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False)
    assert done.returncode == 0


def test_doctor_names_what_is_missing(optimize: Command) -> None:
    found = json.loads(optimize("doctor", "--json").stdout)
    assert any("LoadGen" in ability["name"] and ability["available"] for ability in found["abilities"])
    assert all(ability["detail"] for ability in found["abilities"])


def test_version(optimize: Command) -> None:
    assert optimize("--version").stdout.startswith("enginewright ")


def test_no_arguments_shows_help(tmp_path: Path) -> None:
    done = subprocess.run(
        command(), cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert "optimize MODEL.onnx" in done.stdout + done.stderr
