"""Criteo: three file formats hold the same rows, samples are groups of rows, AUC is the Mann-Whitney statistic."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.workloads.evaluate import evaluate
from benchmarks.workloads.recommendation.criteo import ClickLog, area_under_curve, read_click_log
from benchmarks.workloads.recommendation.dlrm import DLRM
from engines.onnxruntime.engine import OnnxRuntimeEngine
from graphs.errors import BadInput
from tests.benchmarks.workloads.graphs_for_tests import save_graph
from tests.drawing import seeded

RNG = seeded(11)
ROWS = 900
COUNTS = RNG.integers(-1, 50, (ROWS, 13))
CATEGORIES = RNG.integers(0, 100, (ROWS, 26))
CLICKED = (COUNTS[:, 0] + RNG.integers(0, 30, ROWS) > 40).astype(np.int32)


def write(folder: Path, form: str) -> Path:
    folder.mkdir(exist_ok=True)
    if form == "npz":
        np.savez(folder / "day_23.npz", X_int=COUNTS, X_cat=CATEGORIES, y=CLICKED)
    elif form == "bin":
        np.column_stack([CLICKED, COUNTS, CATEGORIES]).astype(np.int32).tofile(folder / "test.bin")
    else:
        rows = zip(CLICKED, COUNTS, CATEGORIES, strict=True)
        lines = ["\t".join([str(y), *map(str, c), *(f"{k:08x}" for k in cat)]) for y, c, cat in rows]
        (folder / "day_23.tsv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.mark.parametrize("form", ["npz", "bin", "tsv"])
def test_every_form_holds_the_same_rows(form: str, tmp_path: Path) -> None:
    log: ClickLog = read_click_log(write(tmp_path / form, form))
    np.testing.assert_allclose(log.dense, np.log1p(np.maximum(COUNTS, 0)), rtol=1e-6)
    np.testing.assert_array_equal(log.categories, CATEGORIES)
    np.testing.assert_array_equal(log.clicked, CLICKED)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Reads the first count; the categories add what is lost in rounding."""
    return save_graph(
        """
        dlrm (float[batch,13] dense, int64[batch,26] sparse) => (float[batch,1] probability) {
            ids = Cast <to = 1> (sparse)
            mean = ReduceMean <axes = [1], keepdims = 1> (ids)
            little = Mul(mean, tiny)
            first = Gemm(dense, w)
            sum = Add(first, little)
            probability = Sigmoid(sum)
        }""",
        tmp_path_factory.mktemp("dlrm") / "dlrm.onnx",
        {"w": np.eye(13, 1, dtype=np.float32), "tiny": np.array(1e-6, np.float32)},
    )


@pytest.mark.parametrize("quantiles", [None, "100, 150, 300"])
def test_samples_are_groups_and_batches_join_them(quantiles: str | None, model: Path, tmp_path: Path) -> None:
    folder = write(tmp_path / "data", "npz")
    if quantiles:
        (folder / "dist_quantile.txt").write_text(quantiles)
    with OnnxRuntimeEngine(model) as engine:
        task = DLRM.open(folder, engine.inputs, engine.outputs)
        sizes = [len(task.feed(index)["dense"]) for index in range(len(task))]
        assert sum(sizes) == ROWS
        assert quantiles is not None or sizes == [270, 270, 270, 90]
        score = evaluate(engine, task, batch=3)
    expected = area_under_curve(COUNTS[:, 0].clip(0) + 1e-9 * CATEGORIES.mean(1), CLICKED)
    assert score.value == pytest.approx(expected, abs=0.002)
    assert score.value > 0.9 and score.details["rows"] == ROWS


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=2, max_size=30))
def test_auc_is_the_share_of_pairs_in_order(rows: list[tuple[int, bool]]) -> None:
    scores, truth = np.array([row[0] for row in rows], float), np.array([row[1] for row in rows])
    if truth.all() or not truth.any():
        with pytest.raises(BadInput, match="all labels are equal"):
            area_under_curve(scores, truth)
        return
    pairs = scores[truth][:, None] - scores[~truth][None]
    assert area_under_curve(scores, truth) == pytest.approx(float((pairs > 0).mean() + 0.5 * (pairs == 0).mean()))


def test_unusable_logs_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no click log"):
        read_click_log(tmp_path)
    (tmp_path / "a.tsv").write_text("1\t2\t3\n")
    with pytest.raises(BadInput, match="line 1 has not 40 fields"):
        read_click_log(tmp_path)
    (tmp_path / "b.bin").write_bytes(b"123")
    with pytest.raises(BadInput, match="2 click logs"):
        read_click_log(tmp_path)
