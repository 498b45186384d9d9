"""The pipeline of docs/pipelines.md, run as it stands there: a first model, a better one, a worse one."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from tests.end_to_end.conftest import ROOT, cnn, environment

SCRIPT = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "pipelines.md").read_text(), re.DOTALL)[0]
SCORE = """
import numpy as np

def score(infer):
    feed = {"input": np.random.default_rng(1).standard_normal((64, 3, 16, 16)).astype(np.float32)}
    right = infer(feed)["logits"].argmax(1) == np.load("labels.npy")
    return {"metric": "top-1", "value": float(right.mean()), "per_sample": right.astype(float)}
"""


def run(user: Path) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "gate.py"]
    return subprocess.run(words, cwd=user, env=environment(user), capture_output=True, text=True, timeout=600)


def test_a_worse_model_does_not_go_out(tmp_path: Path) -> None:
    (tmp_path / "gate.py").write_text(SCRIPT)
    (tmp_path / "score.py").write_text(SCORE)
    (tmp_path / "calib").mkdir()
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "calib" / "a.npz", input=rng.standard_normal((48, 3, 16, 16)).astype(np.float32))
    model = cnn()
    onnx.save(model, tmp_path / "model.onnx")
    feed = {"input": np.random.default_rng(1).standard_normal((64, 3, 16, 16)).astype(np.float32)}
    (answers,) = ReferenceEvaluator(model).run(None, feed)
    np.save(tmp_path / "labels.npy", np.asarray(answers).argmax(1))

    done = run(tmp_path)
    assert done.returncode == 0, done.stderr
    (release,) = (tmp_path / "releases").iterdir()
    with tarfile.open(release / "archive" / "model.tar.gz") as tar:
        assert {"model/manifest.json", "model/MODEL_CARD.md"} <= set(tar.getnames())
    assert list((release / "triton").glob("*/config.pbtxt")) and (release / "archive" / "registry.json").is_file()

    (tmp_path / "candidate.optimized").rename(tmp_path / "serving.optimized")
    for tensor in model.graph.initializer[-2:]:  # the classifier says the opposite
        tensor.CopyFrom(onnx.numpy_helper.from_array(-onnx.numpy_helper.to_array(tensor), tensor.name))
    onnx.save(model, tmp_path / "model.onnx")
    done = run(tmp_path)
    assert done.returncode == 1 and "the candidate is worse than what serves" in done.stderr
    assert "metric<-1%: metric " in done.stdout and list((tmp_path / "releases").iterdir()) == [release]
