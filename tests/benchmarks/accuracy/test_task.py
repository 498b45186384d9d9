"""The user's own evaluation function: what it may return, and what is said about what it may not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from benchmarks.accuracy.task_metric import TaskAccuracy, TaskMetric, compare_scores, evaluate_task
from benchmarks.score import Score
from engines.errors import EngineError
from engines.onnxruntime.engine import OnnxRuntimeEngine
from graphs.errors import BadInput
from graphs.storage.saving import save_model

RELU = '<ir_version: 10, opset_import: ["" : 21]> g (float[n, 2] x) => (float[n, 2] y) { y = Relu(x) }'


class Scoring:
    """Stands for an engine: its outputs are scores."""

    inputs = outputs = ()

    def __init__(self, correct: list[float]) -> None:
        self._correct = np.array(correct)

    def infer(self, feed: Any) -> dict[str, Any]:
        return {"correct": self._correct}


def evaluate(tmp_path: Path, body: str, name: str = "evaluate") -> TaskAccuracy:
    path = tmp_path / "task.py"
    path.write_text(f"import numpy as np\ndef evaluate(infer):\n    {body}\n")
    fp32: Any = Scoring([1, 1, 1, 0])
    int8: Any = Scoring([1, 0, 1, 0])
    return evaluate_task(f"{path}:{name}", fp32, {"int8": int8})["int8"]


def test_a_number_is_a_score(tmp_path: Path) -> None:
    result = evaluate(tmp_path, "return infer({})['correct'].mean()")
    assert (result.fp32, result.optimized, result.drop, result.ci95) == (0.75, 0.5, 0.25, None)


def test_per_sample_scores_give_a_paired_interval(tmp_path: Path) -> None:
    result = evaluate(
        tmp_path, "c = infer({})['correct']; return {'metric': 'top-1', 'value': c.mean(), 'per_sample': c}"
    )
    half = 1.959964 * np.std([0, 1, 0, 0], ddof=1) / 2
    assert (result.metric, result.samples) == ("top-1", 4)
    assert result.ci95 == pytest.approx((0.25 - half, 0.25 + half))


def test_lower_may_be_better() -> None:
    result = compare_scores("t", Score("WER", 7.0, higher_is_better=False), Score("WER", 7.5, higher_is_better=False))
    assert result.drop == 0.5


def test_the_interval_covers_the_true_drop_about_95_times_in_100() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(400):
        before = rng.random(500) < 0.9
        after = np.where(rng.random(500) < 0.05, ~before, before)  # the expected drop is 0.05 (0.9 - 0.1) = 0.04
        scores = [Score("t", float(s.mean()), s.astype(float)) for s in (before, after)]
        low, high = compare_scores("t", *scores).ci95 or (0.0, 0.0)
        covered += low <= 0.04 <= high
    assert 0.91 <= covered / 400 <= 0.98


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return float('nan')", "returned nan"),
        ("return 'good'", "returned str, not a number"),
        ("return True", "returned bool"),
        ("return None", "returned NoneType"),
        ("return {'metric': 'top-1'}", "without 'value'"),
        ("raise KeyError('labels')", "raised KeyError: 'labels'"),
        ("return {'value': 1.0, 'per_sample': [1.0, float('nan')]}", "one finite number per sample"),
        ("return {'value': 1.0, 'per_sample': ['a']}", "not an array of numbers"),
        ("c = infer({})['correct']; return {'value': 1., 'per_sample': c[c > 0]}", "scored 3 samples with FP32 and 2"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, body: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        evaluate(tmp_path, body)


def test_a_missing_file_function_or_broken_file_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="has no function 'other'"):
        evaluate(tmp_path, "return 1.0", "other")
    with pytest.raises(BadInput, match="no such file"):
        evaluate_task(f"{tmp_path}/nothing.py:evaluate", None, {})  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="names no function"):
        evaluate_task("nothing", None, {})  # type: ignore[arg-type]
    (tmp_path / "broken.py").write_text("import does_not_exist_anywhere\n")
    with pytest.raises(BadInput, match="importing it failed: ModuleNotFoundError"):
        evaluate_task(f"{tmp_path}/broken.py:evaluate", None, {})  # type: ignore[arg-type]


def test_a_list_in_place_of_an_array_is_named_as_the_engine_names_it(tmp_path: Path) -> None:
    save_model(ir.from_onnx_text(RELU), tmp_path / "model.onnx")
    (tmp_path / "task.py").write_text("def evaluate(infer):\n    return infer({'x': [[1.0, 2.0]]})['y'].sum()\n")
    with OnnxRuntimeEngine(tmp_path / "model.onnx") as engine, pytest.raises(EngineError, match="'x': got list"):
        TaskMetric.load(f"{tmp_path / 'task.py'}:evaluate").score(engine)
