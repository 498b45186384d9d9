"""A fixed sample of the random graphs goes through the whole product, and the judge is judged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from studies.breadth import drawing, judge
from studies.breadth.random_graphs import trials
from studies.breadth.row import Outcome, Row
from studies.breadth.table import render
from studies.breadth.verdict import Judged, verdict

OVERFLOWS = """
<ir_version: 8, opset_import: ["" : 17]>
g (float16[4] x) => (float16[4] y) { y = Mul(x, x) }
"""


@pytest.mark.parametrize("seed", [4, 8, 22, 23, 26])
def test_a_random_graph_is_right_or_refused(seed: int, tmp_path: Path) -> None:
    (row,) = trials(seed, tmp_path)
    assert row.outcome in (Outcome.WORKS, Outcome.REFUSED), row.reason


@pytest.mark.parametrize("seed", [8, 20])
def test_a_wide_graph_is_right_in_int8(seed: int, tmp_path: Path) -> None:
    (row,) = trials(seed, tmp_path, wide=True)
    assert row.outcome is Outcome.WORKS, row.reason
    assert row.name == f"w{seed}"
    assert row.int8_mac_share


def test_a_seed_draws_the_same_model_again() -> None:
    first, second = drawing.draw(3), drawing.draw(3)
    assert first.model == second.model
    assert all(np.array_equal(a, b) for a, b in zip(first.held[0].values(), second.held[0].values(), strict=True))


def test_a_step_left_out_leaves_the_others() -> None:
    whole = drawing.draw(8)
    smaller = drawing.draw(8, frozenset({whole.steps[-1]}))
    assert smaller.steps == whole.steps[:-1]
    assert len(smaller.model.graph.node) < len(whole.model.graph.node)


def test_the_judge_sees_float16_overflow(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(onnx.parser.parse_model(OVERFLOWS), path)
    answer = judge.run_reference(path, [{"x": np.full(4, 1000, np.float16)}])[0]["y"]
    assert np.isinf(answer).all()


def test_sqnr_of_the_judge() -> None:
    wanted = [{"y": np.asarray([3.0, 4.0], np.float32), "i": np.asarray([1, 2])}]
    assert judge.sqnr_db(wanted, wanted) == {"y": np.inf}
    off = [{"y": np.asarray([3.0, 3.5], np.float32), "i": np.asarray([1, 3])}]
    assert judge.sqnr_db(wanted, off)["y"] == pytest.approx(20.0)
    assert judge.same_integers(wanted, off) == {"i": 0.5}
    other_shape = [{"y": np.zeros(3, np.float32), "i": np.zeros(2)}]
    assert judge.sqnr_db(wanted, other_shape)["y"] == -np.inf


def _report(claimed: float | None, cpu: str = "fp32", t4: str = "built") -> dict:
    return {
        "accuracy": {"outputs": {"y": {"sqnr_db": claimed, "failure": ""}}},
        "precision": {"int8_mac_share": 1.0},
        "targets": {
            "cpu": {"status": "measured", "reason": "", "kept_precision": cpu},
            "t4": {"status": t4, "reason": "no kernel" if t4 == "skipped" else ""},
        },
    }


ROW = Row("random graphs", "int8", "1", Outcome.CRASHED)


@pytest.mark.parametrize(
    ("report", "judged", "outcome"),
    [
        (_report(30.0), Judged({"y": 30.5}, "reference", {"y": 120.0}), Outcome.WORKS),
        (_report(68.8), Judged({"y": -999.0}, "reference", {"y": 120.0}), Outcome.WRONG),
        (_report(30.0), Judged({"y": 26.0}, "reference", {"y": 120.0}), Outcome.WRONG),
        (_report(60.0), Judged({"y": 90.0}, "reference", {"y": 120.0}), Outcome.WORKS),
        (_report(30.0), Judged({"y": 30.0}, "reference", {"y": 20.0}), Outcome.WRONG),
        (_report(30.0, t4="skipped"), Judged({"y": 30.0}, "reference", {"y": 120.0}), Outcome.REFUSED),
    ],
)
def test_what_is_claimed_is_held_against_what_is_found(report: dict, judged: Judged, outcome: Outcome) -> None:
    assert verdict(ROW, report, judged).outcome is outcome


def test_the_table_names_the_slowest_and_the_least_accurate() -> None:
    figures = {"cpu_seconds": 12.0, "sqnr_db": 17.5, "cpu_db": 11.25}
    text = render([Row("architectures", "timm", "poor_net", Outcome.WORKS, **figures)])
    assert "`poor_net` 12 s" in text
    assert "below 20 dB: `poor_net` 17.5 dB" in text
    assert "`poor_net` 17.5 and 11.2 dB" in text


def test_the_table_says_how_many_random_graphs_have_int8() -> None:
    wide = [
        Row("random graphs", "int8, wide", f"w{n}", Outcome.WORKS, judged_db=db, int8_mac_share=share)
        for n, (db, share) in enumerate([(18.0, 0.5), (30.0, 1.0), (99.0, 0.0)])
    ]
    text = render(wide)
    assert "- random graphs, int8, wide: 2 of 3 have MACs in INT8; " in text
    assert "18.0 to 30.0 dB, median 24.0 dB, 1 below 20 dB" in text


def test_the_table_counts_every_row_once() -> None:
    rows = [
        Row("backend", "node", "a", Outcome.WORKS),
        Row("backend", "node", "b", Outcome.REFUSED, "t4: 'n1': operator Det is not supported"),
        Row("backend", "node", "c", Outcome.REFUSED, "t4: 'n2': operator Det is not supported"),
        Row("random graphs", "fp16", "7", Outcome.WRONG, "68.8 dB claimed | nan found", "fp16"),
    ]
    text = render(rows)
    assert "| backend | node, int8 | 3 | 1 | 2 | 0 | 0 |" in text
    assert "| **all** | | 4 | 1 | 2 | 1 | 0 |" in text
    assert "| 2 | `b` | t4: 'n1': operator Det is not supported |" in text
    assert "`7` (fp16): 68.8 dB claimed | nan found" in text
