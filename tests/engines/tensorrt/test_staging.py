"""Pinned memory gets the bytes of an input, whatever its strides, in parts that are complete when they are told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines import pieces
from engines.pieces import LARGE_BYTES, MOST_THREADS, Pieces
from engines.tensorrt.runtime.staging import stage

GUARD = 0xCD
DTYPES = (np.bool_, np.int8, np.float16, ml_dtypes.bfloat16, np.int32, np.float32, np.int64)


@pytest.fixture(params=[1, 2, 16], ids="{} cores".format)
def cores(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(pieces, "available_cores", lambda: request.param)
    return int(request.param)


@pytest.fixture
def filler(cores: int) -> Iterator[Pieces]:
    made = Pieces()
    yield made
    made.close()


def helpers() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("pieces")}


@st.composite
def arrays(draw: st.DrawFn) -> np.ndarray[Any, Any]:
    """Of any shape, none or ones or zeros among its extents; permuted, stepped, reversed or repeated axes."""
    shape = draw(st.lists(st.integers(0, 6) | st.just(1), max_size=5))
    steps = [draw(st.sampled_from([1, 1, 2, -1, -3])) for _ in shape]
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    held = [extent * abs(step) for extent, step in zip(shape, steps, strict=True)]
    whole = np.random.default_rng(0).integers(0, 2 if dtype == np.bool_ else 256, int(np.prod(held, dtype=int)))
    value = whole.astype(dtype).reshape(held)[tuple(slice(None, None, step) for step in steps)]
    value = value.transpose(draw(st.permutations(range(value.ndim))))
    if draw(st.booleans()):
        value = np.broadcast_to(value, (draw(st.integers(1, 5)), *value.shape))
    return value


def check(filler: Pieces, value: np.ndarray[Any, Any]) -> list[slice]:
    """The parts, after what was promised of them has been looked at."""
    expected = np.frombuffer(value.tobytes(), np.uint8)
    memory = np.full(value.nbytes + 64, GUARD, np.uint8)
    buffer, parts = memory[: value.nbytes], list[slice]()

    def filled(part: slice) -> None:
        parts.append(part)
        np.testing.assert_array_equal(buffer[part], expected[part])

    stage(buffer, value, filler, filled)
    np.testing.assert_array_equal(buffer, expected)
    assert (memory[value.nbytes :] == GUARD).all()
    ordered = sorted(parts, key=lambda part: int(part.start))
    assert [0, *(part.stop for part in ordered)] == [*(part.start for part in ordered), value.nbytes]
    return ordered


def test_any_array_in_small_pieces(cores: int) -> None:
    filler = Pieces()

    @given(arrays(), st.integers(1, 200), st.integers(1, 300))
    def any_array(value: np.ndarray[Any, Any], piece: int, large: int) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pieces, "PIECE_BYTES", piece)
            patch.setattr(pieces, "LARGE_BYTES", large)
            check(filler, value)

    any_array()
    filler.close()


@pytest.mark.parametrize("shape", [(10, 3, 224, 224), (1, 3, 700, 701), (3, 1 << 20), (LARGE_BYTES + 5,)])
@pytest.mark.parametrize("contiguous", [True, False])
def test_large_inputs(filler: Pieces, shape: tuple[int, ...], contiguous: bool) -> None:
    value = np.random.default_rng(1).standard_normal(int(np.prod(shape)), np.float32).reshape(shape)
    assert len(check(filler, value if contiguous else value[..., ::-1])) > 1


def test_a_small_input_is_one_part_and_starts_no_thread(filler: Pieces) -> None:
    before = helpers()
    assert check(filler, np.zeros((1, 3, 224, 224), np.float32)) == [slice(0, 602112)]
    assert helpers() == before


def test_there_are_no_more_threads_than_cores_and_closing_ends_them(filler: Pieces, cores: int) -> None:
    before = helpers()
    for _ in range(3):
        check(filler, np.ones(20 << 20, np.uint8))
    assert len(helpers() - before) <= min(cores, MOST_THREADS) - 1
    filler.close()
    filler.close()
    assert helpers() == before


def test_nothing_is_written_after_it_raised(filler: Pieces) -> None:
    buffer = np.zeros(40 << 20, np.uint8)

    def refused(_: slice) -> None:
        raise RuntimeError("cudaErrorInvalidValue")

    with pytest.raises(RuntimeError, match="InvalidValue"):
        stage(buffer, np.ones(len(buffer), np.uint8), filler, refused)
    buffer[:] = GUARD
    filler.close()  # waits for what would still write
    assert (buffer == GUARD).all()
    check(filler, np.ones(LARGE_BYTES, np.uint8))


def test_what_a_helper_raises_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "available_cores", lambda: 2)
    filler, main = Pieces(), threading.current_thread()
    failed = threading.Event()
    copy = np.copyto

    def fails_in_helpers(target: Any, source: Any) -> None:
        if threading.current_thread() is not main:
            failed.set()
            raise MemoryError("of a helper")
        assert failed.wait(60)
        copy(target, source)

    monkeypatch.setattr(np, "copyto", fails_in_helpers)
    with pytest.raises(MemoryError, match="of a helper"):
        stage(np.zeros(9 << 20, np.uint8), np.ones(9 << 20, np.uint8), filler, lambda _: None)
    filler.close()


def test_threads_may_fill_at_once(filler: Pieces) -> None:
    values = [np.full(9 << 20, number, np.uint8) for number in range(4)]
    buffers = [np.zeros(9 << 20, np.uint8) for _ in values]
    threads = [
        threading.Thread(target=stage, args=(buffer, value, filler, lambda _: None))
        for buffer, value in zip(buffers, values, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for buffer, value in zip(buffers, values, strict=True):
        np.testing.assert_array_equal(buffer, value)
