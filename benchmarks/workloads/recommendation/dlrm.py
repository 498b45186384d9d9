"""Recommendation with DLRM on Criteo: area under the curve.

The dataset folder holds one click log (``recommendation.criteo``). As in MLPerf a sample is a user with several items:
with the reference's ``dist_quantile.txt`` in the folder, samples have 100 to 700 rows drawn from it; without, every
sample has 270, the reference's mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.score import Score
from benchmarks.workloads.recommendation.criteo import CATEGORIES, COUNTS, area_under_curve, read_click_log
from benchmarks.workloads.workload import Workload
from engines.engine import Array, Feed, TensorSpec
from graphs.errors import BadInput

ROWS = 270
"""Items per user where no distribution is at hand: the mean of MLPerf's."""
QUANTILES = "dist_quantile.txt"
SEED = 0
"""Of drawing sizes from that distribution."""


class Clicks:
    """Criteo for a DLRM whose inputs are dense float [batch, 13] and categories: one integer [batch, 26] or
    [26, batch], or one input per category in order. Answers are float32 [rows]: the probability of a click.
    """

    def __init__(self, folder: Path, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> None:
        floats = [spec for spec in inputs if spec.dtype.startswith("float")]
        self._categories = [spec for spec in inputs if "int" in spec.dtype]
        if len(floats) != 1 or floats[0].shape[-1] != COUNTS or len(self._categories) not in (1, CATEGORIES):
            names = ", ".join(f"{spec.name} {list(spec.shape)}" for spec in inputs)
            raise BadInput(f"inputs {names} do not fit", where="dlrm", expected="float [batch, 13], int [batch, 26]")
        self._dense, self._log = floats[0], read_click_log(folder)
        self._ends = np.cumsum(
            _group_sizes(folder, len(self._log.clicked), alone=not any(spec.dynamic for spec in inputs))
        )

    def __len__(self) -> int:
        return len(self._ends)

    def _rows(self, index: int) -> slice:
        return slice(int(self._ends[index - 1]) if index else 0, int(self._ends[index]))

    def feed(self, index: int) -> Feed:
        rows = self._rows(index)
        feed = {self._dense.name: self._log.dense[rows].astype(self._dense.dtype)}
        ids = self._log.categories[rows]
        if len(self._categories) == CATEGORIES:
            for column, spec in enumerate(self._categories):
                feed[spec.name] = ids[:, column].reshape(-1, *[1] * (len(spec.shape) - 1)).astype(spec.dtype)
            return feed
        spec = self._categories[0]
        feed[spec.name] = np.ascontiguousarray((ids.T if spec.shape[0] == CATEGORIES else ids).astype(spec.dtype))
        return feed

    def answers(self, outputs: dict[str, Array], rows: Sequence[int]) -> list[Array]:
        scores = next(iter(outputs.values())).reshape(-1).astype(np.float32)
        return np.split(scores, np.cumsum(rows)[:-1]) if len(rows) > 1 else [scores]

    def score(self, answers: Mapping[int, Array]) -> Score:
        order = sorted(answers)
        scores = np.concatenate([answers[index] for index in order])
        truth = np.concatenate([self._log.clicked[self._rows(index)] for index in order])
        return Score("AUC", area_under_curve(scores, truth), samples=len(order), details={"rows": float(len(truth))})


def _group_sizes(folder: Path, rows: int, *, alone: bool) -> Array:
    """Rows per sample, together ``rows``; one each for models that take one row only."""
    if alone:
        return np.ones(rows, np.int64)
    path = folder / QUANTILES
    if path.is_file():
        try:
            quantiles = np.array(path.read_text().replace(",", " ").split(), np.int64)
        except ValueError as error:
            raise BadInput(f"not a list of sizes: {error}", where=str(path)) from error
        sizes = np.random.default_rng(SEED).choice(quantiles, rows // max(1, int(quantiles.min())) + 1)
    else:
        sizes = np.full(rows // ROWS + 1, ROWS, np.int64)
    ends = np.minimum(np.cumsum(sizes), rows)
    ends = ends[: int(np.searchsorted(ends, rows)) + 1]
    return np.diff(ends, prepend=0)


DLRM = Workload(
    name="dlrm",
    open=Clicks,
    metric="AUC",
    data="Criteo Terabyte, day 23's test half, processed for the model",
    reference=0.8025,
    targets=(0.99, 0.999),
    dataset_samples=330_067,
    performance_samples=204_800,
    server_latency_ms=30.0,
    mlperf_name="dlrm",
    rounds="v0.7 to v2.1",
)
