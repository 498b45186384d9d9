"""Constants computed when they are read: their numbers, names and types, and that nothing of them is kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir

from graphs.writing.lazy_tensors import EAGER_ELEMENTS, lazily, small_at_once


def test_numbers_are_made_again_at_each_reading_and_cast_to_the_type_said() -> None:
    asked: list[int] = []

    def halved(array: np.ndarray) -> np.ndarray:
        asked.append(1)
        return array / 2

    made = lazily(halved, ir.Tensor(np.arange(6, dtype=np.float32)), "w", dtype=ir.DataType.FLOAT16)
    assert not asked
    assert made.dtype is ir.DataType.FLOAT16 and made.shape == ir.Shape([6])
    np.testing.assert_array_equal(made.numpy(), np.arange(6, dtype=np.float16) / 2)
    made.numpy()
    assert len(asked) == 2


def test_a_transposed_weight_is_written_row_by_row(tmp_path: Path) -> None:
    weight = np.arange(6, dtype=np.float32).reshape(2, 3)
    made = lazily(np.transpose, ir.Tensor(weight), "w", shape=(3, 2))
    graph = ir.Graph([], [], nodes=[], initializers=[ir.Value(name="w", const_value=made)], opset_imports={"": 21})
    ir.save(ir.Model(graph, ir_version=10), tmp_path / "model.onnx")
    read = ir.load(tmp_path / "model.onnx").graph.initializers["w"].const_value
    assert read is not None
    np.testing.assert_array_equal(read.numpy(), weight.T)


def test_small_constants_are_changed_at_once_and_large_ones_when_read() -> None:
    for size, kind in ((EAGER_ELEMENTS, ir.Tensor), (EAGER_ELEMENTS + 1, ir.LazyTensor)):
        made = small_at_once(np.negative, ir.Tensor(np.ones(size, np.float32)), "w", ir.DataType.FLOAT)
        assert type(made) is kind and made.name == "w"
        np.testing.assert_array_equal(made.numpy(), -np.ones(size, np.float32))
