"""The command works wherever the user stands, also where folders are called as our packages are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.end_to_end.conftest import environment


def test_folders_named_as_our_packages_are_not_run(folder: Path) -> None:
    for name in ("benchmarks", "engines", "calibration", "graphs", "optimizer"):
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text("raise ImportError('this is the user\\'s own folder')")
    script = folder / "bin" / "optimize.py"  # as an installed command: the working folder is not on the module path
    script.parent.mkdir()
    script.write_text("from optimizer.cli.main import main\nmain()\n")
    arguments = ["cnn.onnx", "--data", "data.npz", "--target", "cpu,a100", "--duration", "0.2"]
    done = subprocess.run(
        [sys.executable, str(script), *arguments],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    assert "user's own folder" not in done.stdout + done.stderr
    assert "VALID" in done.stdout
