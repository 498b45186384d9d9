"""The study of what an update takes: its new weights, and a command that fails."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from graphs.reading.structure import Structure
from optimizer.demo import fashion
from optimizer.importing import import_model
from studies.update_time import retrained, run


def test_new_weights_are_the_old_ones_with_the_noise_asked_for(tmp_path: Path) -> None:
    onnx.save(retrained(0.02, 0), tmp_path / "new.onnx")
    assert Structure.of(import_model(tmp_path / "new.onnx").model) == Structure.of(import_model(fashion.MODEL).model)
    old, new, other = (
        {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        for model in (onnx.load(fashion.MODEL), onnx.load(tmp_path / "new.onnx"), retrained(0.02, 1))
    )
    large = [name for name, values in old.items() if values.size > 1000]
    for name in large:
        assert (new[name] - old[name]).std() == pytest.approx(0.02 * old[name].std(), rel=0.1)
    assert large and not any(np.array_equal(new[name], other[name]) for name in large)


def test_a_command_that_fails_has_the_last_word(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run(tmp_path, tmp_path / "cache", "none.onnx")
    assert ended.value.code == 2 and "none.onnx" in capfd.readouterr().err
