"""A graph cut open gives what was asked for, whatever names and operators it has."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest

from engines.onnxruntime.graph import running
from graphs.cutting.taps import Taps, cut_at, exposed

NET = """
<ir_version: 9, opset_import: ["" : OPSET]>
net (float[n, 3] x) => (float[n, 3] y) { a = Relu (x)  b = Neg (a)  y = Exp (b) }
"""
DATA = np.array([[1, -2, 3], [-4, 5, -6]], np.float32)


def net(opset: int = 21) -> ir.Model:
    return ir.from_onnx_text(NET.replace("OPSET", str(opset)))


def test_a_copy_cut_at_tensors_gives_them_in_graph_order() -> None:
    model = net()
    with running(cut_at(model, {"b", "a"})) as engine:
        found = engine.infer({"x": DATA})
    assert list(found) == ["a", "b"]
    np.testing.assert_array_equal(found["b"], -np.maximum(DATA, 0))
    assert [value.name for value in model.graph.outputs] == ["y"]


def test_exposed_tensors_are_outputs_for_the_time_being() -> None:
    model = net()
    values = {str(output.name): output for node in model.graph for output in node.outputs}
    with pytest.raises(RuntimeError, match="stop"), exposed(model, [values["a"]]):
        assert [value.name for value in model.graph.outputs] == ["a"]
        raise RuntimeError("stop")
    assert [value.name for value in model.graph.outputs] == ["y"]


@pytest.mark.parametrize("opset", [13, 17, 18, 21])
def test_reductions_are_those_of_numpy_in_every_opset(opset: int) -> None:
    taps = Taps[str](net(opset))
    values = {str(output.name): output for node in taps.model.graph for output in node.outputs}
    taps.keep("largest", taps.largest(values["a"]))
    taps.keep("per column", taps.reduced("ReduceMin", values["b"], [0]))
    taps.keep("sum per row", taps.reduced("ReduceSum", values["b"], [1]))
    taps.keep("power", taps.power(values["a"]))
    taps.keep("size", taps.size(values["a"]))
    names = taps.cut()
    with running(taps.model) as engine:
        found = engine.infer({"x": DATA})
    a = np.maximum(DATA, 0)
    assert found[names["largest"]] == 5
    np.testing.assert_array_equal(found[names["per column"]], (-a).min(axis=0))
    np.testing.assert_array_equal(found[names["sum per row"]], (-a).sum(axis=1))
    assert found[names["power"]] == np.square(a).sum()
    assert found[names["size"]] == a.size


def test_a_graph_is_tapped_again_and_may_have_our_names() -> None:
    model = net()
    model.graph[0].outputs[0].name = "enginewright/ReduceMax"
    for kind in ("first", "second"):
        taps = Taps[str](model)
        taps.keep(kind, taps.largest(model.graph[0].outputs[0]))
        names = taps.cut()
    with running(model) as engine:
        assert engine.infer({"x": DATA})[names["second"]] == 5


def test_a_tensor_is_read_before_the_next_but_one_is_made(tmp_path: Path) -> None:
    """Else all of them are held until the graph has run: the order is ONNX Runtime's own, told by its profiler."""
    steps = "".join(f"t{i + 1} = Mul (t{i}, t{i})\n" for i in range(8))
    model = ir.from_onnx_text(
        f"""<ir_version: 9, opset_import: ["" : 21]> net (float[n, 3] t0) => (float[n, 3] t8) {{ {steps} }}"""
    )
    taps, made = Taps[str](model), [str(node.outputs[0].name) for node in model.graph]
    for node in list(model.graph):
        node.name = str(node.outputs[0].name)
        size = taps.do("Abs", node.outputs[0])
        taps.keep(node.name, taps.largest(taps.where(taps.test("Less", size, np.inf), size, 0.0)))
    names = taps.cut()
    options = ort.SessionOptions()
    options.enable_profiling, options.profile_file_prefix = True, str(tmp_path / "order")
    session = ort.InferenceSession(ir.to_proto(model).SerializeToString(), options)
    found = dict(zip(names.values(), session.run(list(names.values()), {"t0": DATA / 8}), strict=True))
    assert found[names["t1"]] == np.square(DATA / 8).max()
    events = json.loads(Path(session.end_profiling()).read_text())
    ran = [event["name"].removesuffix("_kernel_time") for event in events if event["name"].endswith("_kernel_time")]
    readers = {str(node.inputs[0].name): str(node.name) for node in model.graph if node.op_type == "Abs"}
    for tensor, later in zip(made, made[2:], strict=False):
        assert ran.index(readers[tensor]) < ran.index(later)
