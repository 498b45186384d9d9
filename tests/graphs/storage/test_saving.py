"""Saving: one file or two, complete or not at all."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from graphs.errors import BadInput, EnginewrightError
from graphs.storage.saving import save_model
from optimizer.importing import import_model

TEXT = """<ir_version: 10, opset_import: ["" : 21]>
g (float[N, 4] x) => (float[N, 4] y) { y = MatMul(x, w) }"""


def model(read: list[str] | None = None) -> ir.Model:
    """y = x w; ``read`` notes each time the lazy weight is evaluated."""
    parsed = ir.from_onnx_text(TEXT.replace("x) =>", "x, float[4, 4] w) =>"))
    weight = parsed.graph.inputs.pop()

    def evaluate() -> ir.Tensor:
        if read is not None:
            read.append("w")
        return ir.Tensor(np.arange(16, dtype=np.float32).reshape(4, 4), name="w")

    weight.const_value = ir.LazyTensor(evaluate, ir.DataType.FLOAT, ir.Shape([4, 4]), name="w")
    parsed.graph.register_initializer(weight)
    return parsed


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def loaded(path: Path) -> np.ndarray:
    return onnx.numpy_helper.to_array(onnx.load(path).graph.initializer[0])


def test_a_small_model_is_one_file(tmp_path: Path) -> None:
    read: list[str] = []
    assert save_model(model(read), tmp_path / "m.onnx") == [tmp_path / "m.onnx"]
    assert listing(tmp_path) == ["m.onnx"]
    assert read == ["w"], "a lazy weight is computed once"
    assert loaded(tmp_path / "m.onnx")[3, 3] == 15


def large(**arguments: int) -> ir.Model:
    parsed = model()
    weight = parsed.graph.initializers["w"]
    weight.const_value = ir.tensor(np.ones((4, 1000), np.float32), name="w")
    weight.shape = ir.Shape([4, 1000])
    return parsed


def test_a_large_model_keeps_its_weights_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    assert save_model(large(), path, single_file_bytes=1000) == [path, tmp_path / "m.onnx.data"]
    assert listing(tmp_path) == ["m.onnx", "m.onnx.data"]
    assert path.stat().st_size < 1000
    assert np.all(loaded(path) == 1)
    again = import_model(path)
    assert again.parameters == 4000


def test_saving_over_the_data_a_model_is_mapped_from(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    save_model(large(), path, single_file_bytes=1000)
    mapped = import_model(path).model
    save_model(mapped, path, single_file_bytes=1000)
    assert np.all(loaded(path) == 1)
    alone = tmp_path / "alone.onnx"
    assert save_model(mapped, alone) == [alone]
    (tmp_path / "m.onnx.data").unlink()
    assert np.all(loaded(alone) == 1)


def test_a_folder_that_does_not_exist_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be written"):
        save_model(model(), tmp_path / "none" / "m.onnx")


@pytest.mark.parametrize("limit", [10**9, 1000])
def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    def full(self: Path, target: object) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(EnginewrightError, match=r"(?i)no space left") as caught:
        save_model(large(), tmp_path / "m.onnx", single_file_bytes=limit)
    assert "free some space" in str(caught.value)
    assert listing(tmp_path) == []


def test_a_failure_leaves_the_old_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    save_model(model(), path)
    before = path.read_bytes()
    broken = model()
    weight = broken.graph.initializers["w"]

    def fail() -> ir.Tensor:
        raise OSError(errno.EIO, "Input/output error")

    weight.const_value = ir.LazyTensor(fail, ir.DataType.FLOAT, ir.Shape([4, 4]), name="w")
    with pytest.raises(EnginewrightError, match="Input/output"):
        save_model(broken, path)
    assert path.read_bytes() == before
    assert listing(tmp_path) == ["m.onnx"]
