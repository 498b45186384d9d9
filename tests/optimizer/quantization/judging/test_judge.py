"""Variants of a graph told apart by the error of its outputs."""

from __future__ import annotations

import onnx_ir as ir
import pytest

from engines.errors import EngineError
from optimizer.attempt import STRICT
from optimizer.quantization.judging.judge import Judge, Variant
from tests.optimizer.quantization.models import normal, parse

TEXT = """<ir_version: 10, opset_import: ["" : 21]> g (float[4,8] x, float[8,8] w) => (float[4,8] y)
{ y = MatMul (x, w) }"""
FEEDS = [{"x": normal(4, 8, seed=seed)} for seed in range(15)]


def off_by(part: float) -> Variant:
    """A weight with as much noise, relative to its values."""

    def quantize(model: ir.Model) -> None:
        weight = model.graph.initializers["w"]
        assert weight.const_value is not None
        values = weight.const_value.numpy()
        weight.const_value = ir.Tensor(values + part * normal(8, 8, seed=99), name="w")

    return quantize


@pytest.fixture
def judge() -> Judge:
    return Judge(parse(TEXT, {"w": normal(8, 8, seed=1)}))


def test_a_variant_far_behind_is_left_after_a_third_of_the_samples(judge: Judge) -> None:
    variants = {"good": off_by(0.01), "far": off_by(0.02), "near": off_by(0.011), "best": off_by(0.009)}
    noise, notes = judge.noise(variants, FEEDS, racing=True)
    assert list(noise) == ["best", "good", "near"]
    (note,) = notes
    assert note.startswith("far 3") and note.endswith("on 5 samples: left there, others are ahead")
    every, notes = judge.noise(variants, FEEDS)
    assert list(every) == ["best", "good", "near", "far"] and not notes
    assert {name: every[name] for name in noise} == noise


def test_what_is_clearly_less_is_told_on_all_samples(judge: Judge) -> None:
    noise, _ = judge.noise({"a": off_by(0.01)}, FEEDS)
    less = judge.clearly_less("a", off_by(0.005), noise, FEEDS)
    assert less is not None and less["a"] == pytest.approx(noise["a"] / 4, rel=0.1)
    assert judge.clearly_less("a", off_by(0.02), less, FEEDS) is None
    assert judge.clearly_less("a", off_by(0.00499), less, FEEDS) is None


def test_a_float_model_that_no_longer_runs_ends_no_job(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    noise, _ = judge.noise({"a": off_by(0.01)}, FEEDS)

    def refused(_: object) -> None:
        raise EngineError("ran out of threads", where="serialized model")

    monkeypatch.delenv(STRICT, raising=False)
    monkeypatch.setattr(judge, "_reference", refused)
    assert judge.clearly_less("a", off_by(0.005), noise, FEEDS) is None
