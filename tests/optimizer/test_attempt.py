"""Optional steps: left out with a note, or raised where they must be."""

import errno

import onnx_ir as ir
import pytest

from engines.errors import EngineError
from graphs.errors import BadInput
from optimizer.attempt import STRICT, attempt, attempt_on

IDENTITY = '<ir_version: 10, opset_import: ["" : 21]> g (float[1] x) => (float[1] y) { y = Identity(x) }'


def failing(error: BaseException):
    def step() -> str:
        raise error

    return step


@pytest.fixture
def production(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(STRICT, raising=False)


def test_a_step_that_works_leaves_no_note(production: None) -> None:
    assert attempt("a correction", lambda: "done", "") == ("done", [])


def test_a_failure_is_a_note_with_its_name_and_reason(production: None) -> None:
    result, notes = attempt("a correction", failing(EngineError("no such kernel", where="node 'n'")), "nothing")
    assert result == "nothing"
    assert notes == ["left out: a correction (node 'n': no such kernel)"]


def test_in_tests_the_same_failure_is_an_error() -> None:
    with pytest.raises(IndexError):
        attempt("a correction", failing(IndexError("list index out of range")), "")


@pytest.mark.parametrize(
    "error", [BadInput("a sample is bad"), MemoryError(), KeyboardInterrupt(), OSError(errno.ENOSPC, "disk full")]
)
def test_what_is_not_the_steps_fault_is_raised(production: None, error: BaseException) -> None:
    with pytest.raises(type(error)):
        attempt("a correction", failing(error), "")


def test_a_graph_half_changed_is_as_it_was(production: None) -> None:
    model = ir.from_onnx_text(IDENTITY)

    def step(copy: ir.Model) -> int:
        copy.graph[0].name = "changed"
        if copy.graph.name == "g":
            raise ValueError("half way")
        return 1

    kept, result, notes = attempt_on("a correction", model, step, 0)
    assert kept is model
    assert model.graph[0].name != "changed"
    assert result == 0
    assert notes == ["left out: a correction (ValueError: half way)"]


def test_a_graph_that_was_changed_is_returned(production: None) -> None:
    model = ir.from_onnx_text(IDENTITY)

    def step(copy: ir.Model) -> int:
        copy.graph[0].name = "changed"
        return 1

    changed, result, notes = attempt_on("a correction", model, step, 0)
    assert (changed.graph[0].name, model.graph[0].name != "changed", result, notes) == ("changed", True, 1, [])
