"""Synthetic inputs: reproducible, in range, said to be synthetic."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibration.sources.open import open_source
from engines.engine import TensorSpec
from graphs.errors import BadInput

BERT = tuple(TensorSpec(name, "int64", ("batch", "seq")) for name in ("input_ids", "attention_mask", "token_type_ids"))


@given(st.integers(0, 5), st.integers(2, 6), st.data())
def test_each_sample_depends_on_seed_and_index_alone(seed, count, data):
    source = open_source("random", [TensorSpec("x", "float32", ("batch", 3))], samples=count, seed=seed)
    everything = [s["x"] for s in source.samples()]
    index = data.draw(st.integers(0, count - 1))
    assert np.array_equal(next(source.samples_at([index]))["x"], everything[index])
    assert len({x.tobytes() for x in everything}) == count
    assert source.synthetic
    assert "synthetic" in source.notes[0]


def test_tokens_stay_below_their_bounds_and_masks_are_ones():
    source = open_source("random", BERT, samples=20, integer_bounds={"input_ids": 50, "token_type_ids": 2})
    ids = np.concatenate([s["input_ids"] for s in source.samples()])
    assert (ids.min(), ids.max()) == (0, 49)
    sample = next(source.samples())
    assert sample["attention_mask"].min() == 1
    assert sample["token_type_ids"].max() <= 1
    assert sample["input_ids"].dtype == np.int64
    assert not any("unknown range" in note for note in source.notes)


def test_unknown_integer_range_is_said():
    source = open_source("random", [TensorSpec("ids", "int32", ("batch", 4))])
    assert any("'ids' takes integers of an unknown range: fed 0..1" in note for note in source.notes)


def test_one_symbol_has_one_length_and_given_shapes_win():
    sample = next(open_source("random", BERT).samples())
    assert len({array.shape for array in sample.values()}) == 1
    source = open_source("random", BERT, shapes={"input_ids": (8, 17)})
    assert next(source.samples())["attention_mask"].shape == (1, 17)
    with pytest.raises(BadInput, match="has 3 axes"):
        open_source("random", BERT, shapes={"input_ids": (1, 8, 17)})


def test_normal_floats_and_digest():
    spec = [TensorSpec("x", "float32", ("batch", 3072))]
    values = np.concatenate([s["x"] for s in open_source("random", spec).samples()])
    assert abs(values.mean()) < 0.02
    assert abs(values.std() - 1) < 0.02
    assert open_source("random", spec).digest == open_source("random", spec).digest
    assert open_source("random", spec).digest != open_source("random", spec, seed=1).digest
