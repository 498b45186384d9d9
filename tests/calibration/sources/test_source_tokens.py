"""JSONL of token ids."""

from __future__ import annotations

import json

import numpy as np
import pytest

from calibration.sources.open import open_source
from engines.engine import TensorSpec
from graphs.errors import BadInput

BERT = tuple(TensorSpec(name, "int64", ("batch", "seq")) for name in ("input_ids", "attention_mask", "token_type_ids"))


def write(path, *lines):
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


def test_lines_of_different_lengths_with_masks_filled_in(tmp_path):
    path = write(
        tmp_path / "d.jsonl", {"input_ids": [5, 6, 7]}, "", {"input_ids": [[8, 9]], "attention_mask": [[1, 0]]}
    )
    source = open_source(path, BERT)
    first, second = source.samples()
    assert len(source) == 2
    assert first["input_ids"].tolist() == [[5, 6, 7]]
    assert first["attention_mask"].tolist() == [[1, 1, 1]]
    assert first["token_type_ids"].tolist() == [[0, 0, 0]]
    assert second["attention_mask"].tolist() == [[1, 0]]
    assert any("'attention_mask'" in note and "ones" in note for note in source.notes)
    assert any("'token_type_ids'" in note and "zeros" in note for note in source.notes)


def test_floats_and_chosen_lines(tmp_path):
    path = write(tmp_path / "d.jsonl", *({"x": [i, 0.5]} for i in range(20)))
    source = open_source(path, [TensorSpec("x", "float32", ("batch", 2))], samples=5, seed=3)
    found = [sample["x"][0, 0] for sample in source.samples()]
    assert len(found) == len(source) == 5
    assert found == sorted(found) != [0, 1, 2, 3, 4]
    assert all(sample["x"].dtype == np.float32 for sample in source.samples())


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ({"tokens": [1]}, "line 2.*no values for input .*'input_ids'"),
        ({"input_ids": [1.5]}, "line 2: 'input_ids': values are float64"),
        ({"input_ids": [[1, 2], [3]]}, "line 2: 'input_ids': not a rectangular list"),
        ({"input_ids": ["a"]}, "line 2: 'input_ids'"),
        ({"input_ids": []}, "line 2: 'input_ids'"),
        ({"input_ids": [[1], [2]]}, "line 2: one line holds 2 samples"),
        ({"input_ids": [2**70]}, "line 2"),
        ([1, 2], "line 2: not a JSON object"),
        ("{", "line 2: not a JSON object"),
    ],
)
def test_bad_line_is_named(tmp_path, line, words):
    path = write(tmp_path / "d.jsonl", {"input_ids": [1]}, line)
    with pytest.raises(BadInput, match=words):
        list(open_source(path, BERT).samples())


def test_empty_file(tmp_path):
    with pytest.raises(BadInput, match="holds no samples"):
        open_source(write(tmp_path / "d.jsonl", ""), BERT)
