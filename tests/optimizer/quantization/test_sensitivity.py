"""The noise that an op causes at the outputs, and how that is measured."""

from __future__ import annotations

import numpy as np
import pytest

from calibration.table import CalibrationTable, TensorRange
from optimizer.quantization.corrections.sensitivity import measure, relative_noise
from optimizer.quantization.cpu_placement import place_for_cpu
from optimizer.quantization.qdq import insert
from optimizer.quantization.scheme import ONNXRUNTIME
from tests.optimizer.quantization.running import answers, feeds_for
from tests.optimizer.quantization.test_any_graph import shared_along_two_axes


def test_a_power_that_depends_on_how_many_boxes_there_are() -> None:
    """A sample whose shape changed is wholly wrong, one without boxes says nothing, widths may differ."""
    boxes = [np.ones((1, rows, 4), np.float32) for rows in (3, 0, 2)]
    wanted = [{"boxes": array} for array in boxes]
    assert relative_noise(wanted, wanted) == 0
    fewer = [{"boxes": boxes[0][:, :2]}, *wanted[1:]]
    assert relative_noise(wanted, fewer) == pytest.approx(12 / 20)
    wide = [{"y": np.ones((2, width), np.float32)} for width in (5, 9)]
    assert relative_noise(wide, [{"y": 1.1 * answer["y"]} for answer in wide]) == pytest.approx(0.01, rel=1e-3)


def test_values_that_are_not_finite_count_only_where_the_reference_is() -> None:
    wanted = [{"y": np.array([[1.0, -np.inf, np.nan, 2.0]], np.float32)}]
    same = [{"y": np.array([[1.0, -np.inf, 5.0, 2.0]], np.float32)}]
    broken = [{"y": np.array([[1.0, -np.inf, 5.0, np.nan]], np.float32)}]
    assert relative_noise(wanted, same) == 0
    assert np.isfinite(found := relative_noise(wanted, broken)) and found > 1e3


def test_an_op_of_the_cpu_form_is_measured_as_it_is_quantized() -> None:
    """With switches, one op in uint8 and the others in float: the noise of quantizing that op alone."""
    model = shared_along_two_axes()
    feeds = feeds_for(model, 2)
    placement = place_for_cpu(model, scheme=ONNXRUNTIME, keep_float={"b": "", "y": ""})
    ranges = {
        name: TensorRange(float(found.min()), float(found.max()), float(found.min()), float(found.max()), 9.0, "seen")
        for name, found in {"x": np.concatenate([feed["x"] for feed in feeds])}.items()
    }
    known = CalibrationTable(ranges, "test", 1, True, "", "")
    (found,) = measure(model, placement, known, feeds, among={"a"})
    alone = model.clone()
    insert(alone, placement, known)
    wanted = relative_noise(answers(model, feeds, fused=False), answers(alone, feeds, fused=False))
    assert found.node == "a" and found.noise == pytest.approx(wanted, rel=0.05)
