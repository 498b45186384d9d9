"""Why a builder ended without a result: told apart, and named by the node it was at."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from engines.errors import BuildFailure
from engines.processes.lifetime import kernel_kills
from engines.tensorrt.builder.exits import RAW_LOG_NAME, Ending, ending_error, last_node, read_tail

LOG = (
    "[VERBOSE] conv1 [Conv] inputs: [x -> (-1, 3, 8, 8)[FLOAT]], [w -> (4, 3, 3, 3)[FLOAT]],\n"
    "[VERBOSE] conv1 [Conv] outputs: [c -> (-1, 4, 8, 8)[FLOAT]],\n"
    "[VERBOSE] /layer.1/relu [Relu] inputs: [c -> (-1, 4, 8, 8)[FLOAT]],\n"
)


def ending(code: int, errors: str = "", killed: bool = False, log: str = LOG) -> Ending:
    return Ending(code, "parsing", errors, killed, log)


@pytest.mark.parametrize(
    ("how", "failure", "words"),
    [
        (ending(-signal.SIGSEGV), BuildFailure.CRASH, "SIGSEGV"),
        (ending(-signal.SIGABRT, "std::bad_alloc"), BuildFailure.OUT_OF_MEMORY, "memory ran out"),
        (ending(-signal.SIGKILL, killed=True), BuildFailure.OUT_OF_MEMORY, "SIGKILL"),
        (ending(-signal.SIGKILL), BuildFailure.CRASH, "SIGKILL"),
        (ending(1, "MemoryError"), BuildFailure.OUT_OF_MEMORY, "status 1"),
        (ending(3, "nothing"), BuildFailure.CRASH, "status 3"),
        (ending(0), BuildFailure.CRASH, "status 0"),
    ],
)
def test_crash_and_memory_are_told_apart(how: Ending, failure: BuildFailure, words: str) -> None:
    error = ending_error(how)
    assert error.failure is failure
    assert words in error.what
    assert error.where == "/layer.1/relu"
    assert "/layer.1/relu [Relu]" in error.log


@pytest.mark.parametrize(
    ("log", "node"),
    [
        ("", ""),
        ("[VERBOSE] Parsing node: a/b [Conv]\n[VERBOSE] Searching for input: x", "a/b"),
        (LOG + "[VERBOSE] =============== Computing costs for conv1 + relu1\n", "conv1"),
        (LOG + "[VERBOSE] Computing costs for {ForeignNode[a/in...b/out]}\n", "a/in to b/out"),
    ],
)
def test_the_last_node_is_read_from_the_log(log: str, node: str) -> None:
    assert last_node(log, "parsing") == node


def test_what_was_parsed_last_is_not_blamed_for_a_crash_of_the_builder() -> None:
    assert last_node(LOG, "Building engine") == ""
    assert last_node(LOG + "[VERBOSE] Computing costs for conv1\n", "Building engine") == "conv1"


def test_only_the_tail_of_a_long_log_is_read(tmp_path: Path) -> None:
    (tmp_path / RAW_LOG_NAME).write_text("x" * 200_000 + "\n" + LOG)
    tail = read_tail(tmp_path)
    assert len(tail) < 70_000 and tail.endswith(LOG)
    assert read_tail(tmp_path / "nowhere") == ""


def test_the_kernels_count_is_a_number() -> None:
    assert kernel_kills() >= 0
