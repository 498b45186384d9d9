"""An engine in a process of its own: the same answers, and a crash that is one sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import engines.child_engine as child_engine
from engines.child_engine import ChildEngine
from engines.engine import TensorSpec
from engines.errors import EngineError
from engines.onnxruntime.engine import OnnxRuntimeEngine
from engines.portions import InPortions, largest_batch
from engines.profile import ShapeProfile, ShapeRange

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


class Counting(OnnxRuntimeEngine):
    """Remembers how many samples it was fed."""

    def infer(self, feed):
        self.fed = [*getattr(self, "fed", []), feed["x"].shape[0]]
        return super().infer(feed)


@pytest.mark.parametrize(("rows_fed", "fed"), [(4, [4]), (9, [4, 4, 2]), (1, [2]), (12, [4, 4, 4])])
def test_an_engine_is_fed_what_its_profile_covers(rows_fed: int, fed: list[int]) -> None:
    text = '<ir_version: 8, opset_import: ["" : 17]> g (float[N,3] x) => (float[N,3] y) { y = Relu(x) }'
    inner = Counting(onnx.parser.parse_model(text).SerializeToString(), threads=1)
    inner.learn([TensorSpec("x", "float32", ("N", 3), batch=True)])
    profile = ShapeProfile({"x": ShapeRange((2, 3), (4, 3), (4, 3))})
    values = np.random.default_rng(0).standard_normal((rows_fed, 3)).astype(np.float32)
    with InPortions(inner, [profile]) as engine:
        np.testing.assert_array_equal(engine.infer({"x": values})["y"], np.maximum(values, 0))
    assert inner.fed == fed


def test_feeds_of_an_engine_whose_output_counts_no_samples_go_through_as_they_are() -> None:
    inner = Counting(onnx.parser.parse_model(MODEL).SerializeToString(), threads=1)
    inner.learn([TensorSpec("x", "float32", ("N", 3), batch=True)], [TensorSpec("s", "float32", (), batch=False)])
    with InPortions(inner, [ShapeProfile({"x": ShapeRange((1, 3), (2, 3), (2, 3))})]) as engine:
        np.testing.assert_allclose(engine.infer(FEED)["s"], FEED["x"].sum())
    assert inner.fed == [4]


def test_profiles_say_how_many_samples_an_engine_takes() -> None:
    inner = Counting(onnx.parser.parse_model(MODEL).SerializeToString(), threads=1)
    inner.learn([TensorSpec("x", "float32", ("N", 3), batch=True), TensorSpec("flag", "bool", (1,), batch=False)])
    assert largest_batch(inner) is None
    ranges = (ShapeRange((1, 3), (2, 3), (4, 3)), ShapeRange((1, 3), (8, 3), (32, 3)))
    inner.profiles = tuple(ShapeProfile({"x": found}) for found in ranges)
    assert largest_batch(inner) == 32
