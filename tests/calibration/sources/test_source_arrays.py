"""Sources over .npz and .npy: order, choice, digests, memory, damaged files."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.source import batches, split
from calibration.sources.observed import observed_shapes
from calibration.sources.open import open_source
from engines.engine import TensorSpec, batchable
from graphs.errors import BadInput

X = (TensorSpec("x", "float32", ("batch", 4)),)
TWO = (TensorSpec("dense", "float32", ("batch", 3)), TensorSpec("sparse", "int64", ("batch", 2)))


def rows(n, width=4):
    return np.arange(n * width, dtype=np.float32).reshape(n, width)


def values(source, name="x"):
    return np.concatenate([sample[name] for sample in source.samples()])


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npz_keeps_values_and_order(tmp_path, save, order):
    dense, sparse = np.asarray(rows(9, 3), order=order), np.arange(18).reshape(9, 2)
    save(tmp_path / "d.npz", dense=dense, sparse=sparse, label=np.zeros(9))
    source = open_source(tmp_path / "d.npz", TWO)
    assert len(source) == 9
    assert np.array_equal(values(source, "dense"), dense)
    assert np.array_equal(values(source, "sparse"), sparse)
    assert "label" in source.notes[0]


def test_folder_mixes_stacks_and_single_samples_in_path_order(tmp_path):
    whole = rows(6)
    (tmp_path / "b").mkdir()
    np.savez(tmp_path / "a.npz", x=whole[:3])
    np.savez(tmp_path / "b/1.npz", x=whole[3])
    np.savez(tmp_path / "b/2.npz", x=whole[4:])
    np.savez(tmp_path / ".hidden.npz", x=whole)
    assert np.array_equal(values(open_source(tmp_path, X)), whole)


def test_npy_file_folder_and_one_file_per_input(tmp_path):
    whole, sparse = rows(6), np.ones((6, 2), np.int64)
    np.save(tmp_path / "all.npy", whole)
    assert np.array_equal(values(open_source(tmp_path / "all.npy", X)), whole)
    inputs = tmp_path / "inputs"
    inputs.mkdir()
    np.save(inputs / "dense.npy", rows(6, 3))
    with pytest.raises(BadInput, match=r"expected: .*sparse\.npy"):
        open_source(inputs, TWO)
    np.save(inputs / "sparse.npy", sparse)
    source = open_source(inputs, TWO)
    assert np.array_equal(values(source, "sparse"), sparse)


def test_stateful_stack_gives_the_models_own_shapes(tmp_path):
    specs = (
        TensorSpec("audio", "float32", ("batch", "frame")),
        TensorSpec("state", "float32", (2, "batch", 8)),
        TensorSpec("rate", "int64", ()),
    )
    np.savez(tmp_path / "d.npz", audio=np.ones((5, 1, 16)), state=np.ones((5, 2, 1, 8)), rate=np.array(16000))
    samples = list(open_source(tmp_path / "d.npz", specs).samples())
    assert [{k: v.shape for k, v in s.items()} for s in samples] == [
        {"audio": (1, 16), "state": (2, 1, 8), "rate": ()}
    ] * 5
    assert samples[0]["rate"] == 16000
    assert not batchable(specs)


@settings(max_examples=25)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=5), st.integers(1, 12), st.integers(0, 3), st.data())
def test_choice_split_and_batches(tmp_path_factory, sizes, samples, seed, data):
    folder = tmp_path_factory.mktemp("d")
    whole, start = rows(sum(sizes)), 0
    for i, size in enumerate(sizes):
        np.savez(folder / f"{i}.npz", x=whole[start : start + size])
        start += size
    source = open_source(folder, X, samples=samples, seed=seed)
    taken = values(source)[:, 0] / 4
    assert len(source) == len(taken) == min(samples, len(whole))
    assert np.all(np.diff(taken) > 0)
    again = open_source(folder, X, samples=samples, seed=seed)
    assert np.array_equal(values(again)[:, 0] / 4, taken)
    assert again.digest == source.digest

    calibration, held_back = split(source, len(source), max(len(source) // 4, 1), seed)
    if len(source) > 1:
        parts = [set(values(part)[:, 0] / 4) for part in (calibration, held_back)]
        assert not parts[0] & parts[1]
        assert parts[0] | parts[1] == set(taken)
        assert calibration.digest != held_back.digest

    size = data.draw(st.integers(1, 7))
    joined = list(batches(source.samples(), size, X))
    assert np.array_equal(np.concatenate([b["x"] for b in joined]), values(source))
    assert all(len(b["x"]) == size for b in joined[:-1])


def test_digest_follows_content_and_choice(tmp_path):
    def digest(samples=None, seed=0):
        return open_source(tmp_path / "d.npz", X, samples=samples, seed=seed).digest

    np.savez(tmp_path / "d.npz", x=rows(8))
    first = digest()
    assert first == digest()
    assert len({first, digest(3), digest(3, seed=1)}) == 3
    np.savez(tmp_path / "d.npz", x=rows(8) + 1)
    assert digest() != first


def test_only_files_of_chosen_samples_are_read(tmp_path):
    for i in range(4):
        np.save(tmp_path / f"{i}.npy", rows(1) + i)
    source = open_source(tmp_path, X, samples=2)
    unread = set(range(4)) - set(source.positions)
    before = source.digest
    for i in unread:
        (tmp_path / f"{i}.npy").unlink()
    assert len(list(source.samples())) == 2
    assert source.digest == before


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_memory_does_not_grow_with_the_number_of_samples(tmp_path, save):
    specs = (TensorSpec("x", "float32", ("batch", 1 << 16)),)  # 256 KiB a sample

    def peak(n):
        save(tmp_path / f"{n}.npz", x=np.ones((n, 1 << 16), np.float32))
        tracemalloc.start()
        for _ in open_source(tmp_path / f"{n}.npz", specs).samples():
            pass
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    small, large = peak(4), peak(64)
    assert large < 1.1 * small
    assert large < 2 << 20


def test_a_file_that_may_be_one_sample_is_peeked_into_not_read(tmp_path):
    np.save(tmp_path / "long.npy", np.ones((512, 1 << 14), np.float32))
    tracemalloc.start()
    (feed,) = open_source(tmp_path / "long.npy", (TensorSpec("x", "float32", ("n", 1 << 14), False),)).peek(16)
    top = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert feed["x"].shape == (16, 1 << 14) and top < 8 << 20


def test_observed_shapes(tmp_path):
    specs = (TensorSpec("x", "float32", ("batch", "seq")),)
    for i, length in enumerate([7, 3, 7, 5]):
        np.save(tmp_path / f"{i}.npy", np.ones((2, length)))
    assert observed_shapes(open_source(tmp_path, specs)) == {"x": [(1, 3), (1, 5), (1, 7)]}


def truncate(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
@pytest.mark.parametrize("name", ["d.npz", "d.npy"])
def test_truncated_file_is_named(tmp_path, name, share):
    path = tmp_path / name
    np.savez(path, x=rows(64)) if name.endswith("z") else np.save(path, rows(64))
    truncate(path, share)
    with pytest.raises(BadInput, match=str(path)):
        list(open_source(path, X).samples())


def test_damaged_member_is_named(tmp_path):
    path = tmp_path / "d.npz"
    np.savez(path, x=rows(64))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(BadInput, match="'x': cannot be read: Bad CRC"):
        list(open_source(path, X).samples())


def test_pickled_objects_are_refused(tmp_path):
    np.savez(tmp_path / "d.npz", x=np.array([{"a": 1}], dtype=object))
    with pytest.raises(BadInput, match="only pickle"):
        open_source(tmp_path / "d.npz", X)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"y": rows(2)}, "no values for input 'x'; found 'y'"),
        ({"x": rows(2, 5)}, r"sample 0: 'x': a sample has shape \[1, 5\]\nexpected: float32 \[1, 4\]"),
        ({"x": np.ones((2, 4, 4, 4))}, r"'x' \[2, 4, 4, 4\]\nexpected: 'x' float32 \[batch, 4\]"),
        ({"x": np.ones((2, 4), complex)}, "complex128"),
        ({}, "holds no arrays"),
    ],
)
def test_misfit_says_expected_and_found(tmp_path, arrays, words):
    np.savez(tmp_path / "d.npz", **arrays)
    with pytest.raises(BadInput, match=words) as caught:
        open_source(tmp_path / "d.npz", X)
    assert str(tmp_path / "d.npz") in caught.value.where
    assert caught.value.exit_code == 2


def test_nan_names_file_key_and_sample(tmp_path):
    bad = rows(6)
    bad[4, 2] = np.nan
    np.savez(tmp_path / "d.npz", x=bad)
    with pytest.raises(BadInput, match=r"d\.npz, sample 4: 'x': 1 of 4 values are NaN"):
        list(open_source(tmp_path / "d.npz", X).samples())


def test_paths_that_hold_no_data(tmp_path):
    with pytest.raises(BadInput, match="no such file or folder"):
        open_source(tmp_path / "missing", X)
    with pytest.raises(BadInput, match="holds no data"):
        open_source(tmp_path, X)
    (tmp_path / "d.csv").write_text("1,2")
    with pytest.raises(BadInput, match=r"\.csv is no data format"):
        open_source(tmp_path / "d.csv", X)
    np.save(tmp_path / "a.npy", rows(1))
    np.savez(tmp_path / "a.npz", x=rows(1))
    with pytest.raises(BadInput, match="mixes npy and npz"):
        open_source(tmp_path, X)
