"""A model's own types at an engine whose plan binds others: TensorRT 8 has no int64, and none has float64."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engines.engine import TensorSpec
from engines.errors import EngineError
from engines.tensorrt.runtime.bound_types import bound, declared
from engines.tensorrt.runtime.engine import GpuSettings, TensorRtEngine
from tests.engines.cuda.fake_cuda import FakeCuda
from tests.engines.cuda.fake_tensorrt import ONE_PROFILE, FakeEngine, batch, fake_library

IDS = TensorSpec("ids", "int32", ("N",), declared="int64")


def test_numbers_that_fit_are_taken_and_others_named() -> None:
    assert bound({"ids": np.array([1, -2])}, [IDS])["ids"].dtype == np.int32
    kept = {"ids": np.array([1], np.int32), "other": np.array([1.0])}
    found = bound(kept, [IDS])
    assert all(found[name] is kept[name] for name in kept)
    with pytest.raises(EngineError, match="holds 4294967296") as caught:
        bound({"ids": np.array([0, 1 << 32])}, [IDS])
    assert "input 'ids'" in caught.value.where
    assert "the model int64" in caught.value.expected
    assert bound({"ids": np.zeros(0, np.int64)}, [IDS])["ids"].dtype == np.int32


def test_results_are_of_the_models_type() -> None:
    found = declared({"ids": np.array([3], np.int32), "y": np.array([1.0], np.float32)}, [IDS])
    assert (found["ids"].dtype, found["y"].dtype) == (np.int64, np.float32)


def test_an_engine_takes_both_types_and_answers_in_the_models(tmp_path: Path) -> None:
    cuda = FakeCuda()
    engine = TensorRtEngine(
        FakeEngine(cuda, ONE_PROFILE), fake_library(), cuda, GpuSettings(), tmp_path / "engine.plan"
    )
    engine.learn(
        [TensorSpec("x", "float32", ("N", 3), declared="float64")],
        [TensorSpec("y", "float32", ("N", 3), declared="float64")],
    )
    for feed in (batch(2), batch(2).astype(np.float64)):
        found = engine.infer({"x": feed})["y"]
        assert found.dtype == np.float64
        np.testing.assert_array_equal(found, 2 * batch(2) + 1)
    with pytest.raises(EngineError, match="got int64"):
        engine.infer({"x": batch(2).astype(np.int64)})
