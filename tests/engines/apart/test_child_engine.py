"""An engine in a process of its own: the same answers, and a crash that is one sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import engines.apart.child_engine as child_engine
from engines.apart.child_engine import ChildEngine
from engines.errors import EngineError
from engines.onnxruntime.engine import OnnxRuntimeEngine

MODEL = (
    '<ir_version: 8, opset_import: ["" : 17]> g (float[N,3] x, bool[1] flag) => (float[N,3] y, bool[1] same, float s)'
    " { y = Relu(x)  same = Not(flag)  s = ReduceSum<keepdims = 0>(x) }"
)
FEED = {"x": np.arange(-6, 6, dtype=np.float32).reshape(4, 3), "flag": np.array([True])}
ENGINES = """
import ctypes, time
import numpy as np
from engines.engine import EngineBase, TensorSpec

class Engine(EngineBase):
    def __init__(self):
        self._inputs = self._outputs = (TensorSpec("x", "float32", ("N", 3)),)

    def infer(self, feed):
        first = float(feed["x"][0, 0])
        if first == 1:
            ctypes.string_at(0)
        if first == 2:
            raise RuntimeError("cudaErrorIllegalAddress")
        if first == 3:
            time.sleep(60)
        print("native code prints this")
        return {"x": feed["x"]}

    def close(self): ...

def refuse():
    raise MemoryError("no room for the plan")
"""


@pytest.fixture
def source(tmp_path: Path) -> str:
    (tmp_path / "made.py").write_text(ENGINES)
    return f"{tmp_path / 'made.py'}:Engine"


def rows(first: float, count: int = 1) -> dict[str, np.ndarray]:
    return {"x": np.full((count, 3), first, np.float32)}


def test_answers_are_those_of_the_engine_itself(tmp_path: Path) -> None:
    onnx.save(onnx.parser.parse_model(MODEL), tmp_path / "m.onnx")
    with OnnxRuntimeEngine(tmp_path / "m.onnx") as here, ChildEngine(str(tmp_path / "m.onnx")) as there:
        assert (there.inputs, there.outputs) == (here.inputs, here.outputs)
        for _ in range(2):
            wanted, got = here.infer(FEED), there.infer(FEED)
            assert list(got) == list(wanted)
            for name, value in wanted.items():
                np.testing.assert_array_equal(got[name], value)
                assert got[name].dtype == value.dtype and got[name].shape == value.shape


def test_what_an_engine_raises_is_raised_here_and_it_goes_on(source: str) -> None:
    with ChildEngine(source) as engine:
        with pytest.raises(EngineError, match="RuntimeError: cudaErrorIllegalAddress"):
            engine.infer(rows(2))
        assert engine.infer(rows(7))["x"][0, 0] == 7


def test_a_crash_is_one_sentence(source: str) -> None:
    with ChildEngine(source) as engine, pytest.raises(EngineError, match=r"was ended by SIGSEGV in an inference"):
        engine.infer(rows(1))


def test_an_engine_that_does_not_answer_is_ended(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_engine, "ANSWER_S", 0.2)
    with ChildEngine(source) as engine, pytest.raises(EngineError, match=r"hung: no answer for 0\.2 s"):
        engine.infer(rows(3))


def test_one_that_cannot_be_opened_says_why(source: str, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="no room for the plan"):
        ChildEngine(source.replace(":Engine", ":refuse"))
    with pytest.raises(EngineError, match="no such file"):
        ChildEngine(str(tmp_path / "nothing"))
