from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

import engines
from engines.engine import Engine, TensorSpec
from engines.errors import EngineError
from engines.onnxruntime.engine import OnnxRuntimeEngine
from engines.parallel import available_cores

QDQ = """
agraph (float[batch,4] x) => (float[batch,4] y)
<float scale = {0.1}, int8 zero = {0}> {
    q = QuantizeLinear(x, scale, zero)
    d = DequantizeLinear(q, scale, zero)
    [act] y = Relu(d)
}
"""


def test_runs_and_describes_a_model(matmul_model: Path) -> None:
    with OnnxRuntimeEngine(matmul_model) as engine:
        assert isinstance(engine, Engine)
        assert engine.inputs == (TensorSpec("x", "float32", ("batch", 4)),)
        assert engine.outputs == (TensorSpec("y", "float32", ("batch", 8)),)
        outputs = engine.infer({"x": np.ones((3, 4), np.float32)})
    weight = np.array([(i % 5 - 2) / 10 for i in range(32)], np.float32).reshape(4, 8)
    np.testing.assert_allclose(outputs["y"], np.maximum(np.ones((3, 4)) @ weight, 0), atol=1e-6)


@pytest.mark.parametrize(
    ("feed", "expected"),
    [
        ({}, "input 'x': missing"),
        ({"x": np.ones((2, 5), np.float32)}, r"input 'x': got float32 \[2, 5\]\nexpected: float32 \[batch, 4\]"),
        ({"x": np.ones((2, 4), np.float64)}, "input 'x': got float64"),
        ({"x": np.ones(4, np.float32)}, r"input 'x': got float32 \[4\]"),
        ({"x": [[1.0, 2.0, 3.0, 4.0]]}, "input 'x': got list"),
        ({"x": np.ones((2, 4), np.float32), "z": np.ones(1)}, "the model has no input 'z'"),
    ],
)
def test_names_the_input_that_does_not_fit(matmul_model: Path, feed: dict[str, np.ndarray], expected: str) -> None:
    with OnnxRuntimeEngine(matmul_model) as engine, pytest.raises(EngineError, match=expected):
        engine.infer(feed)


def test_the_answer_does_not_depend_on_where_in_memory_the_input_lies(save_model) -> None:
    """As the row of an array, and the tensor in a request's body, lie anywhere."""
    model = save_model("agraph (float[n,4] x) => (float[n] y) <int64[1] a = {1}> { y = ReduceSum<keepdims=0>(x, a) }")
    x = np.random.default_rng(0).standard_normal((64, 4)).astype(np.float32)
    memory = np.zeros(x.nbytes + 64, np.uint8)
    begin = -memory.ctypes.data % 64
    with OnnxRuntimeEngine(model) as engine:
        expected = engine.infer({"x": x})["y"]
        for away in (4, 8, 12):
            view = memory[begin + away :][: x.nbytes].view(np.float32).reshape(x.shape)
            view[:] = x
            np.testing.assert_array_equal(engine.infer({"x": view})["y"], expected)


def test_an_error_inside_onnxruntime_is_ours_and_printed_once(save_model, capfd: pytest.CaptureFixture[str]) -> None:
    model = save_model("agraph (float[n,4] a, float[m,4] b) => (float[?,4] y) { y = Add(a, b) }")
    with OnnxRuntimeEngine(model) as engine, pytest.raises(EngineError, match="Add"):
        engine.infer({"a": np.ones((2, 4), np.float32), "b": np.ones((3, 4), np.float32)})
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("content", [b"", b"garbage"])
def test_refuses_what_is_no_model(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(EngineError) as caught:
        OnnxRuntimeEngine(path)
    assert caught.value.where == str(path)


def test_closed_engine_says_so(matmul_model: Path) -> None:
    engine = OnnxRuntimeEngine(matmul_model)
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.infer({"x": np.ones((1, 4), np.float32)})


def test_uses_every_core_it_may_run_on(matmul_model: Path) -> None:
    engine = OnnxRuntimeEngine(matmul_model)
    assert engine._session.get_session_options().intra_op_num_threads == available_cores()
    assert available_cores() == len(os.sched_getaffinity(0))


def test_unfused_qdq_rounds_to_the_grid_in_float(save_model) -> None:
    x = np.array([[0.04, 0.06, 1.26, 99.0]], np.float32)
    with OnnxRuntimeEngine(save_model(QDQ), fuse_qdq=False) as engine:
        options = engine._session.get_session_options()
        assert options.get_session_config_entry("session.disable_quant_qdq") == "1"
        np.testing.assert_allclose(engine.infer({"x": x})["y"], [[0.0, 0.1, 1.3, 12.7]], atol=1e-6)


def test_serialized_model_runs(matmul_model: Path) -> None:
    with OnnxRuntimeEngine(matmul_model.read_bytes(), threads=1) as engine:
        assert engine.infer({"x": np.zeros((1, 4), np.float32)})["y"].shape == (1, 8)


def test_bfloat16_goes_in_and_comes_out():
    text = """<ir_version: 9, opset_import: ["" : 17]> g (bfloat16[N,3] x) => (bfloat16[N,3] y, float[N,3] f) {
        f = Cast<to = 1>(x) y = Cast<to = 16>(f) }"""
    with OnnxRuntimeEngine(onnx.parser.parse_model(text).SerializeToString()) as engine:
        x = np.array([[1.5, -2, 3], [0.25, 7, -1]], engine.inputs[0].numpy_dtype())
        found = engine.infer({"x": x})
        assert found["y"].dtype == x.dtype and np.array_equal(found["y"], x)
        assert found["f"].tolist() == [[1.5, -2, 3], [0.25, 7, -1]]
        assert engine.infer({"x": x[:0]})["y"].shape == (0, 3)


def test_signed_activations_that_are_reshaped_run() -> None:
    """ONNX Runtime 1.32 rewrites Q/DQ before a Reshape into something that it refuses itself."""
    text = """<ir_version: 10, opset_import: ["" : 21]> g (float[2, 4] x) => (float[4, 2] y)
    <float s = {0.1}, int8 z = {0}, int64[2] shape = {4, 2}> {
        t = Tanh(x)  q = QuantizeLinear(t, s, z)  d = DequantizeLinear(q, s, z)  r = Reshape(d, shape)  y = Neg(r) }"""
    x = np.linspace(-1, 1, 8, dtype=np.float32).reshape(2, 4)
    with OnnxRuntimeEngine(onnx.parser.parse_model(text).SerializeToString()) as engine:
        found = engine.infer({"x": x})["y"]
    np.testing.assert_allclose(found, -np.round(np.tanh(x) / 0.1).reshape(4, 2) * np.float32(0.1), atol=1e-6)


def test_started_inside_engines_the_cause_is_said() -> None:
    """The folder of our engine has the library's name; nowhere else does it hide it."""
    inside = Path(engines.__file__).parent
    done = subprocess.run([sys.executable, "-c", "import onnxruntime"], cwd=inside, capture_output=True, text=True)
    assert "start Python from another folder than engines/" in done.stderr
    command = [sys.executable, "-m", "engines.onnxruntime.engine"]
    assert subprocess.run(command, cwd=inside.parent, capture_output=True).returncode == 0


def test_what_a_fusion_breaks_runs_without_it() -> None:
    """ONNX Runtime 1.32 makes one LayerNormalization of a layer norm whose input was float16, of two types."""
    text = """<ir_version: 10, opset_import: ["" : 21]>
    g (float[2, 4] x) => (float[2, 4] y)
    <float[4] scale = {1, 2, 3, 4}, float[4] bias = {0, 1, 0, 1}, float eps = {0.001}, float two = {2},
     int64[1] last = {-1}> {
        h = Cast<to = 10>(x) w = Cast<to = 1>(h) m = ReduceMean(w, last) d = Sub(w, m) q = Pow(d, two)
        v = ReduceMean(q, last) e = Add(v, eps) s = Sqrt(e) n = Div(d, s) p = Mul(n, scale) y = Add(p, bias)
    }"""
    x = np.array([[1, 2, 3, 4], [0, 1, 0, -1]], np.float32)
    away = x - x.mean(1, keepdims=True)
    wanted = away / np.sqrt((away**2).mean(1, keepdims=True) + 1e-3) * [1, 2, 3, 4] + [0, 1, 0, 1]
    with OnnxRuntimeEngine(onnx.parser.parse_model(text).SerializeToString()) as engine:
        np.testing.assert_allclose(engine.infer({"x": x})["y"], wanted, atol=1e-5)


def test_int4_weights_are_multiplied_in_float_where_that_is_asked_for() -> None:
    """What accuracy is judged against was itself rounded to INT8 on the way: ONNX Runtime's default."""
    text = """<ir_version: 10, opset_import: ["" : 21]> g (float[8, 64] x) => (float[8, 32] y) { y = MatMul(x, w) }"""
    rng = np.random.default_rng(0)
    codes, x = rng.integers(-8, 8, (64, 32)), rng.standard_normal((8, 64)).astype(np.float32)
    model = onnx.parser.parse_model(text)
    model.graph.initializer.append(
        onnx.helper.make_tensor("q", onnx.TensorProto.INT4, [64, 32], codes.ravel().tolist())
    )
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.full((2, 32), 0.02, np.float32), "s"))
    model.graph.node.insert(0, onnx.helper.make_node("DequantizeLinear", ["q", "s"], ["w"], axis=0, block_size=32))
    found = {}
    for exact in (True, False):
        with OnnxRuntimeEngine(model.SerializeToString(), float_products=exact) as engine:
            found[exact] = engine.infer({"x": x})["y"]
    np.testing.assert_allclose(found[True], x @ (codes * np.float32(0.02)), rtol=1e-4, atol=1e-4)
    assert np.abs(found[True] - found[False]).max() > 1e-3  # else the option does nothing any more


def test_nothing_is_reported_to_the_librarys_maker(matmul_model: Path, tmp_path: Path) -> None:
    """ONNX Runtime 1.32 kept an identifier and a queue of what it ran in HOME, and files in the temporary folder."""
    code = (
        "import sys, pathlib, benchmarks.timing.op_times\n"
        "from engines.onnxruntime.engine import OnnxRuntimeEngine\n"
        "OnnxRuntimeEngine(pathlib.Path(sys.argv[1])).close()\n"
    )
    home = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    home |= {"HOME": str(tmp_path), "TMPDIR": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    home["PYTHONPATH"] = str(Path(engines.__file__).parent.parent)
    subprocess.run([sys.executable, "-c", code, str(matmul_model)], env=home, check=True, timeout=60)
    assert [path for path in tmp_path.rglob("*") if path != matmul_model] == []
