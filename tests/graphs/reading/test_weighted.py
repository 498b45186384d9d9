"""What the axes of a weight count, held against what the operators compute."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest

from graphs.reading.weighted import WeightedOp, group, output_axis, output_channels

OPS = [
    ("Conv <kernel_shape = [1, 1]>", (2, 4, 3, 3), (6, 4, 1, 1), 1),
    ("Conv <kernel_shape = [1, 1], group = 2>", (2, 4, 3, 3), (6, 2, 1, 1), 1),
    ("Conv <kernel_shape = [1, 1], group = 4>", (2, 4, 3, 3), (4, 1, 1, 1), 1),
    ("ConvTranspose <kernel_shape = [1, 1]>", (2, 4, 3, 3), (4, 6, 1, 1), 1),
    ("ConvTranspose <kernel_shape = [1, 1], group = 2>", (2, 4, 3, 3), (4, 3, 1, 1), 1),
    ("Gemm", (2, 4), (4, 6), -1),
    ("Gemm <transB = 1>", (2, 4), (6, 4), -1),
    ("MatMul", (3, 2, 4), (4, 6), -1),
    ("MatMul", (3, 2, 4), (3, 4, 6), -1),
]


def model_of(call: str, data: tuple[int, ...], weight: tuple[int, ...], output: int | None = None) -> ir.Model:
    shape = ", ".join(map(str, data))
    kernel = ", ".join(map(str, weight))
    name, _, attributes = call.partition(" ")
    return ir.from_onnx_text(
        f'<ir_version: 9, opset_import: ["" : 21]> g (float[{shape}] x, float[{kernel}] w) => (float[] y) '
        f"{{ y = {name} {attributes} (x, w) }}"
    )


def run(model: ir.Model, data: np.ndarray, weight: np.ndarray) -> np.ndarray:
    model.graph.outputs[0].shape = None
    session = ort.InferenceSession(ir.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"])
    found: np.ndarray = session.run(None, {"x": data, "w": weight})[0]
    return found


@pytest.mark.parametrize(("call", "data", "weight", "channels"), OPS)
def test_a_slice_along_the_output_axis_moves_only_its_channels(
    call: str, data: tuple[int, ...], weight: tuple[int, ...], channels: int
) -> None:
    """A slice of a grouped ConvTranspose is one channel of every group, of all others one channel in all."""
    model = model_of(call, data, weight)
    node = model.graph[0]
    axis = output_axis(node, len(weight))
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal(data, np.float32), rng.standard_normal(weight, np.float32)
    before = run(model, x, w)
    assert before.shape[channels] == output_channels(node, weight)
    changed = w.copy()
    np.moveaxis(changed, axis, 0)[1] += 1
    moved = np.abs(run(model, x, changed) - before).max(
        axis=tuple(i for i in range(before.ndim) if i != channels % before.ndim)
    )
    groups = output_channels(node, weight) // weight[axis]
    assert np.flatnonzero(moved > 1e-3).tolist() == [1 + g * weight[axis] for g in range(groups)]


@pytest.mark.parametrize(("call", "data", "weight", "channels"), OPS)
def test_the_input_axis_contracts_with_the_datas_channels(
    call: str, data: tuple[int, ...], weight: tuple[int, ...], channels: int
) -> None:
    """Data times f and weight over f give the same: that is what corrections need of the two axes."""
    model = model_of(call, data, weight)
    node = model.graph[0]
    rng = np.random.default_rng(1)
    x, w = rng.standard_normal(data, np.float32), rng.standard_normal(weight, np.float32)
    value = ir.Value(name="w", shape=ir.Shape(weight), const_value=ir.tensor(w, name="w"))
    op = WeightedOp(node, output_axis(node, len(weight)), output_channels(node, weight), 1)
    node.replace_input_with(1, value)
    axis, data_axis = op.input_axis, op.data_axis
    node.replace_input_with(1, model.graph.inputs[1])
    if axis is None:
        assert group(node) > 1 or len(weight) == 3, "only interleaved groups and stacks of matrices have none"
        return
    factor = np.array([1, 2, 4, 8], np.float32)

    def along(values: np.ndarray, where: int, by: np.ndarray) -> np.ndarray:
        return values * by.reshape([-1 if i == where % values.ndim else 1 for i in range(values.ndim)])

    scaled = run(model, along(x, data_axis, factor), along(w, axis, 1 / factor))
    np.testing.assert_allclose(scaled, run(model, x, w), rtol=1e-5, atol=1e-5)
