"""Functions and iterables of dicts as sources."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from calibration.source import split
from calibration.sources.open import open_source
from engines.engine import TensorSpec
from graphs.errors import BadInput

X = (TensorSpec("x", "float32", ("batch", 4)),)


def singles_and_batches():
    yield {"x": np.zeros(4, np.float32)}
    yield {"x": np.ones((1, 4), np.float32)}
    yield {"x": np.full((3, 4), 2.0)}


def endless():
    return ({"x": np.full(4, i, np.float32)} for i in itertools.count())


def test_yields_samples_with_or_without_batch_axis():
    source = open_source(singles_and_batches, X)
    assert len(source) == 5
    assert [sample["x"][0, 0] for sample in source.samples()] == [0, 1, 2, 2, 2]
    assert source.digest == open_source(singles_and_batches, X).digest
    assert source.digest != open_source(singles_and_batches, X, samples=4).digest


def test_endless_function_is_bounded_and_splits():
    source = open_source(endless, X, samples=40)
    assert len(source) == 40
    calibration, held_back = split(source, 30, 10, 0)
    taken = [sample["x"][0, 0] for part in (calibration, held_back) for sample in part.samples()]
    assert sorted(taken) == list(range(40))


def test_file_function(tmp_path):
    file = tmp_path / "feed.py"
    file.write_text("import numpy as np\ndef data():\n    for i in range(3):\n        yield {'x': np.full(4, i)}\n")
    assert len(open_source(f"{file}:data", X)) == 3
    with pytest.raises(BadInput, match="has no function 'other'"):
        open_source(f"{file}:other", X)
    with pytest.raises(BadInput, match="no such file"):
        open_source(f"{tmp_path}/none.py:data", X)


def test_module_function_in_the_working_directory(tmp_path, monkeypatch):
    (tmp_path / "feed_of_this_test.py").write_text("def data():\n    return [{'x': [1.0, 2, 3, 4]}]\n")
    monkeypatch.chdir(tmp_path)
    assert len(open_source("feed_of_this_test:data", X)) == 1
    with pytest.raises(BadInput, match="ModuleNotFoundError"):
        open_source("no_such_module_here:data", X)


def test_lists_and_single_dicts():
    feed = {"x": np.ones(4)}
    assert len(open_source([feed, feed], X)) == 2
    assert len(open_source(lambda: feed, X)) == 1


def test_a_generator_cannot_be_walked_twice():
    with pytest.raises(BadInput, match="walked only once"):
        open_source(endless(), X)


def raises_late():
    yield {"x": np.ones(4)}
    raise RuntimeError("the disk is gone")


def test_failure_keeps_its_cause_and_place():
    with pytest.raises(BadInput, match=r"RuntimeError: the disk is gone .*test_source_functions\.py:\d+") as caught:
        list(open_source(raises_late, X).samples())
    assert isinstance(caught.value.__cause__, RuntimeError)


@pytest.mark.parametrize(
    ("produce", "words"),
    [
        (list, "no samples"),
        (lambda: [np.ones(4)], "yields ndarray, not a dict"),
        (lambda: 3, "not iterable"),
        (lambda need: [], "missing 1 required positional argument"),
        (lambda: [{"y": np.ones(4)}], "no values for input 'x'"),
        (lambda: [{"x": np.full(4, np.nan)}], "item 0: 'x': 4 of 4 values are NaN"),
    ],
)
def test_refuses(produce, words):
    with pytest.raises(BadInput, match=words):
        open_source(produce, X)


def test_a_function_that_yields_less_the_second_time():
    passes = iter([3, 3, 2])
    source = open_source(lambda: [{"x": np.ones(4)}] * next(passes), X)
    assert len(source) == 3
    with pytest.raises(BadInput, match="yielded 3 samples at first and 2 now"):
        list(source.samples())


def test_file_function_may_use_dataclasses_and_neighbours(tmp_path):
    (tmp_path / "neighbour_of_feed.py").write_text("WIDTH = 4\n")
    file = tmp_path / "feed_with_dataclass.py"
    file.write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass\n"
        "from neighbour_of_feed import WIDTH\n"
        "@dataclass\nclass Item:\n    value: float\n"
        "def data():\n    return [{'x': [Item(1.0).value] * WIDTH}]\n"
    )
    assert len(open_source(f"{file}:data", X)) == 1


def test_a_function_that_changes_directory_is_where_it_left_off_and_the_job_where_it_began(tmp_path, monkeypatch):
    """A model's relative path could not be read any more: no such file."""
    (tmp_path / "there").mkdir()
    file = tmp_path / "feed.py"
    file.write_text(
        "import os, numpy as np\ndef data():\n    os.chdir(os.path.dirname(__file__) + '/there')\n"
        "    for i in range(3):\n        assert os.getcwd().endswith('there')\n        yield {'x': np.full(4, i)}\n"
    )
    monkeypatch.chdir(tmp_path)
    for _ in open_source("feed.py:data", X).samples():
        assert Path.cwd() == tmp_path
    assert Path.cwd() == tmp_path
