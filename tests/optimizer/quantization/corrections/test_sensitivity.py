"""The noise that an op causes at the outputs, and how that is measured."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from calibration.table import CalibrationTable, TensorRange
from graphs.cutting.segments import tail
from optimizer.quantization.codes.scheme import ONNXRUNTIME, TENSORRT
from optimizer.quantization.corrections import sensitivity
from optimizer.quantization.corrections.sensitivity import measure
from optimizer.quantization.insertion.qdq import insert
from optimizer.quantization.judging.noise import relative_noise
from optimizer.quantization.placement.place import place
from optimizer.quantization.placement.place_for_cpu import place_for_cpu
from tests.optimizer.quantization.models import normal, parse, shared_along_two_axes, table
from tests.optimizer.quantization.running import answers, feeds_for


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


def node(model: ir.Model, name: str) -> ir.Node:
    return next(node for node in model.graph if node.name == name)


def deep(layers: int) -> ir.Model:
    """Products with skips over two of them, and an output in the middle."""
    text, weights, last = "", {}, "x"
    for index in range(layers):
        weights[f"w{index}"] = normal(32, 32, seed=index, scale=0.15)
        skip = f"y{index - 2}" if index > 1 else "x"
        text += f" m{index} = MatMul ({last}, w{index}) y{index} = Add (m{index}, {skip})"
        last = f"y{index}"
    inputs = "".join(f", float[32, 32] {name}" for name in weights)
    outputs = f"float[2, 32] y{layers - 1}, float[2, 32] y{layers // 2}"
    text = f'<ir_version: 9, opset_import: ["" : 21]> g (float[2, 32] x{inputs}) => ({outputs}) {{{text} }}'
    return parse(text, weights)


def test_ops_measured_in_parts_of_the_graph_cause_what_they_cause_in_the_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = deep(36)
    feeds = feeds_for(model, 3)
    monkeypatch.setattr(sensitivity, "NO_MATTER", 0.0)
    placement = place(model, scheme=TENSORRT, keep_float={})
    known = table(**dict.fromkeys([point.range_name for point in placement.activations], 4.0))
    cut: list[str] = []

    def noted(model: ir.Model, first: ir.Node) -> ir.Model | None:
        cut.append(str(first.name))
        return tail(model, first)

    monkeypatch.setattr(sensitivity, "tail", noted)
    monkeypatch.setattr(sensitivity, "PARTS", 1)
    whole = measure(model, placement, known, feeds)
    assert cut == []
    monkeypatch.setattr(sensitivity, "PARTS", 4)
    parts = measure(model, placement, known, feeds)
    assert cut == ["m9", "m18", "m27"] and all(tail(model, node(model, name)) for name in cut)
    assert len(whole) == 36 and [item.node for item in parts] == [item.node for item in whole]
    np.testing.assert_allclose([i.noise for i in parts], [i.noise for i in whole], rtol=1e-2)


def test_ops_that_hardly_matter_are_measured_on_one_sample_and_the_others_on_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = deep(12)
    feeds = feeds_for(model, 4)
    placement = place(model, scheme=TENSORRT, keep_float={})
    amaxes = {point.range_name: 4.0 for point in placement.activations}
    known = table(**{**amaxes, "y3": 0.2})  # clipped: most of the error
    estimated = {item.node: item.noise for item in measure(model, placement, known, feeds)}
    monkeypatch.setattr(sensitivity, "NO_MATTER", 0.0)
    exact = {item.node: item.noise for item in measure(model, placement, known, feeds)}
    assert estimated["m4"] == pytest.approx(exact["m4"]) and max(exact, key=lambda name: exact[name]) == "m4"
    small = [name for name in exact if estimated[name] != pytest.approx(exact[name], rel=1e-6)]
    assert small and sum(exact[name] for name in small) < 0.2 * sum(exact.values())
    assert sum(estimated.values()) == pytest.approx(sum(exact.values()), rel=0.1)
