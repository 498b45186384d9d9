"""Graphs in memory as files that a runtime maps: weights shared by several are written once."""

from __future__ import annotations

import errno
import gc
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

from graphs.errors import BadInput
from graphs.storage.stored import keeping_weights, stored
from graphs.writing.lazy_tensors import lazily

SIZE = 64
TEXT = """<ir_version: 10, opset_import: ["" : 21]>
g (float[N, 64] x) => (float[N, 64] y) { y = MatMul(x, w) }"""


def product(weight: ir.TensorProtocol) -> ir.Model:
    """y = x w"""
    parsed = ir.from_onnx_text(TEXT.replace("x) =>", "x, float[64, 64] w) =>"))
    value = parsed.graph.inputs.pop()
    value.const_value = weight
    parsed.graph.register_initializer(value)
    return parsed


def tensor(number: float) -> ir.Tensor:
    return ir.Tensor(np.full((SIZE, SIZE), number, np.float32), name="w")


def answer(path: Path) -> float:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return float(session.run(None, {"x": np.ones((1, SIZE), np.float32)})[0][0, 0]) / SIZE


def files_of(path: Path) -> dict[str, int]:
    return {file.name: file.stat().st_size for file in path.parent.iterdir()}


def test_a_weight_that_comes_again_is_written_twice_at_most() -> None:
    shared, places = tensor(3), list[str]()
    with keeping_weights():
        for _ in range(4):
            with stored(product(shared)) as path:
                assert answer(path) == 3
                (weight,) = onnx.load(path, load_external_data=False).graph.initializer
                places.append(next(entry.value for entry in weight.external_data if entry.key == "location"))
    assert len(set(places[:2])) == 2 and len(set(places[1:])) == 1, places
    assert not path.parent.exists()


def test_what_one_graph_alone_has_goes_with_it() -> None:
    with keeping_weights():
        with stored(product(tensor(1))) as path:
            assert len(files_of(path)) == 2
        assert not files_of(path)


def test_a_weight_that_is_gone_takes_its_file_along() -> None:
    with keeping_weights():
        weight = tensor(1)
        for _ in range(2):
            with stored(product(weight)) as path:
                pass
        assert len(files_of(path)) == 1
        del weight
        gc.collect()  # a graph refers to itself
        with stored(product(tensor(2))) as path:  # perhaps at the address of the one before
            assert answer(path) == 2
            assert len(files_of(path)) == 2
        assert not files_of(path)


@pytest.mark.parametrize("kept", [False, True])
def test_a_small_weight_that_is_mapped_from_elsewhere_comes_along(tmp_path: Path, kept: bool) -> None:
    model = product(tensor(2))
    shift = ir.Value(name="shift", const_value=ir.Tensor(np.full(SIZE, SIZE, np.float32), name="shift"))
    model.graph.register_initializer(shift)
    add = ir.node("Add", [model.graph.outputs[0], shift])
    add.outputs[0].name, add.outputs[0].type = "shifted", ir.TensorType(ir.DataType.FLOAT)
    model.graph.append(add)
    model.graph.outputs[0] = add.outputs[0]
    ir.save(model, tmp_path / "m.onnx", external_data="m.data", size_threshold_bytes=0)
    mapped = ir.load(tmp_path / "m.onnx")
    with keeping_weights() if kept else nullcontext(), stored(mapped) as path:
        assert answer(path) == 3


def test_without_keeping_nothing_is_left() -> None:
    with stored(product(tensor(5))) as path:
        assert answer(path) == 5
    assert not path.parent.exists()


def test_what_could_not_be_written_whole_goes_at_once() -> None:
    def fail(array: np.ndarray) -> np.ndarray:
        raise OSError(errno.ENOSPC, "No space left on device")

    with keeping_weights():
        with stored(product(tensor(1))) as path:
            folder = path.parent
        whole, fails = product(tensor(2)), lazily(fail, tensor(3), "w2")
        whole.graph.register_initializer(ir.Value(name="w2", const_value=fails))
        with pytest.raises(BadInput, match="TMPDIR"), stored(whole):
            pass
        assert not list(folder.iterdir())


def test_keeping_ends_with_the_last_who_asked() -> None:
    with keeping_weights():
        with keeping_weights(), stored(product(tensor(1))) as path:
            pass
        assert path.parent.exists()
    assert not path.parent.exists()


def test_a_folder_that_cannot_be_written_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "absent"))
    with pytest.raises(BadInput, match="TMPDIR"), stored(product(tensor(1))):
        pass


@pytest.mark.parametrize("kept", [False, True])
def test_threads_may_store_one_model(monkeypatch: pytest.MonkeyPatch, kept: bool) -> None:
    """While it is written, references to a file of the moment stand in place of its weights."""
    to_proto = ir.to_proto

    def slowly(model: ir.Model) -> object:
        time.sleep(0.01)
        return to_proto(model)

    monkeypatch.setattr("onnx_ir.to_proto", slowly)
    shared = product(tensor(1))
    weight = shared.graph.initializers["w"].const_value

    def read(_: int) -> bool:
        with stored(shared) as path:
            return answer(path) == 1

    with ThreadPoolExecutor(8) as pool:
        if kept:
            with keeping_weights():
                assert all(pool.map(read, range(16)))
        else:
            assert all(pool.map(read, range(16)))
    assert shared.graph.initializers["w"].const_value is weight


BRANCHES = """<ir_version: 10, opset_import: ["" : 21]>
g (bool c, float[N, 64] x) => (float[N, 64] y) {
    y = If (c) <
        then_branch = a () => (t) { w = Constant <value = float[1] {1}> () t = MatMul(x, w) },
        else_branch = b () => (e) { e = Identity(x) }
    >
}"""


def branching(weight: ir.TensorProtocol) -> ir.Model:
    """y = x w, the weight that of a branch."""
    model = ir.from_onnx_text(BRANCHES)
    (branch, _) = (graph for graph in model.graphs() if graph is not model.graph)
    constant, product = branch
    value = ir.Value(
        name="weight", const_value=weight, shape=ir.Shape(weight.shape.numpy()), type=product.outputs[0].type
    )
    product.replace_input_with(1, value)
    branch.remove(constant)
    branch.register_initializer(value)
    return model


@pytest.mark.parametrize("made", [product, branching])
def test_the_graph_itself_stays_as_it_is_while_it_is_written(
    made: Callable[[ir.TensorProtocol], ir.Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread may copy it meanwhile, and read the copy when the files are gone."""
    model, copies, to_proto = made(tensor(3)), list[ir.Model](), ir.to_proto

    def copying(written: ir.Model) -> onnx.ModelProto:
        copies.append(model.clone())
        found: onnx.ModelProto = to_proto(written)
        return found

    monkeypatch.setattr("graphs.storage.stored.ir.to_proto", copying)
    with stored(model) as path:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        feeds = {"x": np.ones((1, SIZE), np.float32), "c": np.array(True)}
        assert session.run(None, {i.name: feeds[i.name] for i in session.get_inputs()})[0][0, 0] == 3 * SIZE
    (weight,) = (value.const_value for graph in copies[0].graphs() for value in graph.initializers.values())
    assert weight is not None and weight.numpy()[0, 0] == 3
