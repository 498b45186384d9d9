"""Two exported architectures go through the whole product: a point net, and a graph net that sums where edges arrive.

tests/studies/models was written by ``python -m studies.breadth.architectures export own_points own_graph_ts``.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from studies.breadth.architectures import FEW, few_rows, trial_of
from studies.breadth.row import Outcome, Row
from studies.breadth.trial import run

MODELS = Path(__file__).parent / "models"


def _row(name: str) -> Row:
    return run(replace(trial_of(MODELS / f"{name}.onnx"), quick=True))


def test_a_point_net_is_right_on_every_target() -> None:
    row = _row("own_points")
    assert row.outcome is Outcome.WORKS, row.reason
    assert row.kind == "own small nets"
    assert row.sqnr_db is not None and row.sqnr_db > 25


def test_a_graph_net_says_why_it_has_no_plan() -> None:
    row = _row("own_graph_ts")
    assert row.outcome in (Outcome.WORKS, Outcome.REFUSED), row.reason
    if row.outcome is Outcome.REFUSED:
        assert "reduction" in row.reason.lower() or "plugin" in row.reason.lower()


def test_few_rows_are_taken_where_all_inputs_have_as_many(tmp_path: Path) -> None:
    cases: list[tuple[dict[str, tuple[int, ...]], list[int]]] = [
        ({"a": (5, 3), "b": (5,)}, [FEW, FEW]),
        ({"a": (5, 3), "b": (4,)}, [5, 4]),
        ({"a": ()}, [1]),
    ]
    for shapes, rows in cases:
        np.savez(tmp_path / "net.npz", allow_pickle=False, **{name: np.zeros(shape) for name, shape in shapes.items()})
        assert [len(np.atleast_1d(array)) for array in few_rows(tmp_path / "net.npz").values()] == rows


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
