"""Samples on disk and in batches: what goes in comes out, in any shape a model may have."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.samples.library import SampleLibrary, save_samples
from engines import pieces
from engines.engine import TensorSpec
from graphs.errors import BadInput
from tests.drawing import seeded

IDS = TensorSpec("ids", "int64", ("batch", "length"))
FILE = TensorSpec("a/file", "float32", ("batch", 3))
STATIC = TensorSpec("image", "float32", (1, 2, 2))
RNG = seeded(0)


def test_several_inputs_of_any_name_survive(tmp_path: Path) -> None:
    specs = (FILE, TensorSpec("file", "int64", ("batch",)))
    feeds = [{"a/file": RNG.random((1, 3), np.float32), "file": np.array([k])} for k in range(10)]
    library = SampleLibrary.from_files(save_samples(feeds, specs, tmp_path), specs)
    library.load([7, 2, 5])
    joined = library.feed([5, 2, 5])
    np.testing.assert_array_equal(joined["file"], [5, 2, 5])
    np.testing.assert_array_equal(joined["a/file"], np.concatenate([feeds[k]["a/file"] for k in (5, 2, 5)]))
    assert len(library) == 10


def test_large_batches_are_put_together_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "LARGE_BYTES", 36)
    monkeypatch.setattr(pieces, "PIECE_BYTES", 24)
    monkeypatch.setattr(pieces, "available_cores", lambda: 4)
    specs = (FILE, TensorSpec("file", "int64", ("batch",)))
    feeds = [{"a/file": RNG.random((1, 3), np.float32), "file": np.array([k])} for k in range(10)]
    library = SampleLibrary.from_files(save_samples(feeds, specs, tmp_path), specs)
    library.load(range(10))
    for count in (2, 3, 4, 9, 50):
        order = [int(k) for k in RNG.integers(0, 10, count)]
        joined = library.feed(order)
        np.testing.assert_array_equal(joined["file"], order)
        np.testing.assert_array_equal(joined["a/file"], np.concatenate([feeds[k]["a/file"] for k in order]))


def test_samples_of_different_lengths_are_batched_by_length(tmp_path: Path) -> None:
    lengths = [3, 5, 3, 5, 5, 3, 8]
    feeds = [{"ids": np.full((1, n), k)} for k, n in enumerate(lengths)]
    library = SampleLibrary.from_files(save_samples(feeds, (IDS,), tmp_path), (IDS,))
    library.load(range(7))
    seen = []
    for ids, indices in library.batches(range(100, 107), range(7), 2):
        assert ids == [100 + index for index in indices]
        batch = library.feed(indices)["ids"]
        assert {lengths[index] for index in indices} == {batch.shape[1]}
        seen += indices
    assert sorted(seen) == list(range(7))


def test_static_models_are_run_one_by_one(tmp_path: Path) -> None:
    feeds = [{"image": RNG.random((1, 2, 2), np.float32)} for _ in range(3)]
    library = SampleLibrary.from_files(save_samples(feeds, (STATIC,), tmp_path), (STATIC,))
    assert len(library) == 3 and not library.batchable
    library.load([2])
    np.testing.assert_array_equal(library.feed([2])["image"], feeds[2]["image"])


def test_a_lone_static_sample_in_its_own_file(tmp_path: Path) -> None:
    image = RNG.random((1, 2, 2), np.float32)
    np.savez(tmp_path / "one.npz", image=image)
    library = SampleLibrary.from_files([str(tmp_path / "one.npz")], (STATIC,))
    library.load([0])
    np.testing.assert_array_equal(library.feed([0])["image"], image)


def test_unusable_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("not an archive")
    with pytest.raises(BadInput, match=r"text\.npz: not a readable"):
        SampleLibrary.from_files([str(tmp_path / "text.npz")], (FILE,))
    with pytest.raises(BadInput, match="not a readable"):
        SampleLibrary.from_files([str(tmp_path / "none.npz")], (FILE,))
    with pytest.raises(BadInput, match="no samples"):
        SampleLibrary.from_files([], (FILE,))


def test_a_scalar_input_stays_a_scalar(tmp_path: Path) -> None:
    specs = (TensorSpec("frame", "float32", (1, 4)), TensorSpec("rate", "int64", ()))
    feeds = [{"frame": np.full((1, 4), n, np.float32), "rate": np.array(16000 + n)} for n in range(3)]
    library = SampleLibrary.from_files(save_samples(feeds, specs, tmp_path), specs)
    library.load([0, 2])
    assert library.feed([2])["rate"].shape == () and library.feed([2])["rate"] == 16002
