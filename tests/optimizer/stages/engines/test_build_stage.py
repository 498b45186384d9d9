"""Builds of several targets: Ctrl-C and a fatal error of one end all of them at once, with nothing half-written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from engines.tensorrt.library import installed

ROOT = Path(__file__).resolve().parents[4]
HANG = 'import time\nprint(\'{"stage": "timing kernels", "done": 1, "total": 9}\', flush=True)\ntime.sleep(600)\n'
BUILDS = """
import sys
from pathlib import Path
import onnx.parser, onnx
from calibration.sources.open import open_source
from engines.engine import TensorSpec
from engines.profile import ShapeProfile
from engines.targets.target import TARGETS
from engines.tensorrt.builder import process
from optimizer.events import Detail, Events
from optimizer.settings.job import Settings
from optimizer.stages.engines.build import Terms, build_targets
process._CHILD = "hanging_builder"
folder = Path(sys.argv[1])
text = 'agraph (float[4] x) => (float[4] y) { y = Relu(x) }'
model = onnx.parser.parse_model('<ir_version: 8, opset_import: ["" : 17]> ' + text)
onnx.save(model, folder / "m.onnx")
targets = [TARGETS[name] for name in ("a100", "t4", "l4")]
show = lambda event: print(event.text, flush=True) if isinstance(event, Detail) else None
held_back = open_source("random", [TensorSpec("x", "float32", (4,))], samples=1)
terms = Terms(Settings(jobs=2), ShapeProfile({}), sparse_weights=False, held_back=held_back)
build_targets(folder / "m.onnx", targets, folder / "bundle", terms=terms, events=Events(show))
"""


@pytest.mark.skipif(not installed("tensorrt_rtx"), reason="the rtx extra is not installed")
def test_ctrl_c_does_not_wait_for_builds(tmp_path: Path) -> None:
    (tmp_path / "hanging_builder.py").write_text(HANG)
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}", "ENGINEWRIGHT_CACHE": str(tmp_path)}
    command = [sys.executable, "-c", BUILDS, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as job:
        assert job.stdout is not None
        at_work: set[str] = set()
        for line in job.stdout:
            at_work |= {line.partition(":")[0]} if "timing kernels" in line else set()
            if len(at_work) == 2:
                break
        job.send_signal(signal.SIGINT)
        _, errors = job.communicate(timeout=60)  # its builders take ten minutes
    assert "KeyboardInterrupt" in errors
    assert list((tmp_path / "bundle" / "engines").iterdir()) == [], "nothing half-written is left"
