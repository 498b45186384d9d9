"""The user's metric feeds as many samples as it likes; a simulation takes them in portions, and answers alike."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import onnx_ir as ir
import pytest

from engines.engine import Array, Feed, TensorSpec
from engines.feeds.batching import Batching
from engines.onnxruntime.divided import AT_ONCE
from engines.onnxruntime.engine import OnnxRuntimeEngine
from engines.parallel import available_cores
from optimizer.stages.forms.accuracy_check import AccuracyChecker, BackendForm
from tests.optimizer.quantization.models import normal, parse

NET = """
<ir_version: 10, opset_import: ["" : 21]>
g (float[n, 16] x, float[16, 8] w) => (float[n, 8] y) { m = MatMul (x, w) y = Relu (m) }
"""


@pytest.mark.parametrize("known", (True, False))
def test_a_simulation_is_fed_in_portions_where_samples_are_independent(
    known: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, many = tmp_path / "model.onnx", normal(3 * AT_ONCE + 5, 16, scale=1.0)
    ir.save(parse(NET, {"w": normal(16, 8, seed=1)}), path)
    rows: list[int] = []
    run = OnnxRuntimeEngine.infer

    def watched(self: OnnxRuntimeEngine, feed: Feed) -> dict[str, Array]:
        rows.append(len(feed["x"]))
        return run(self, feed)

    answers: list[Array] = []

    def score(infer: Any) -> float:
        answers.append(infer({"x": many})["y"])
        return 1.0

    specs = (TensorSpec("x", "float32", ("n", 16), batch=True),)
    held_back = cast(Any, SimpleNamespace(specs=specs, samples=lambda: iter([{"x": many[:1]}])))
    batching = Batching(("x",), ("y",)) if known else Batching()
    with AccuracyChecker(path, held_back, score, 0.01, batching=batching) as checker:
        monkeypatch.setattr(OnnxRuntimeEngine, "infer", watched)
        checker.check(BackendForm(path, simulated=True))
        each = AT_ONCE // available_cores()
        in_portions = [*[each] * (len(many) // each), len(many) % each] if known else [len(many)]
        assert sorted(rows[-len(in_portions) :]) == sorted(part for part in in_portions if part)
        checker.check(BackendForm(path, simulated=False))
        assert rows[-1] == len(many)  # an engine that runs here is fed as it will be
    assert all(np.array_equal(answers[0], other) for other in answers[1:]) and len(answers) == 3
