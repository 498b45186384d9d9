"""Task metrics against values worked out by hand or by counting pairs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from studies.baselines.metrics import (
    Detection,
    Truth,
    dice,
    intersection_over_union,
    mean_average_precision,
    roc_auc,
    suppress,
)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=2, max_size=40))
def test_roc_auc_counts_ordered_pairs_with_ties_as_half(rows: list[tuple[bool, int]]) -> None:
    positives = [score for label, score in rows if label]
    negatives = [score for label, score in rows if not label]
    if not positives or not negatives:
        with pytest.raises(ValueError, match="both classes"):
            roc_auc(np.array([label for label, _ in rows]), np.array([score for _, score in rows]))
        return
    won = sum((p > n) + 0.5 * (p == n) for p in positives for n in negatives)
    found = roc_auc(np.array([label for label, _ in rows]), np.array([score for _, score in rows]))
    assert found == pytest.approx(won / (len(positives) * len(negatives)))


def test_dice_of_masks_that_share_half() -> None:
    assert dice(np.array([1, 1, 0, 0]), np.array([0, 1, 1, 0])) == pytest.approx(0.5)
    assert dice(np.zeros(3), np.zeros(3)) == 1.0
    assert dice(np.zeros(3), np.ones(3)) == 0.0


def test_intersection_over_union() -> None:
    found = intersection_over_union(np.array([0.0, 0, 2, 2]), np.array([[0.0, 0, 2, 2], [1, 0, 3, 2], [5, 5, 6, 6]]))
    np.testing.assert_allclose(found, [1.0, 1 / 3, 0.0])


def test_suppress_keeps_the_best_of_overlapping_boxes() -> None:
    boxes = np.array([[0.0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30]])
    assert suppress(boxes, np.array([0.5, 0.9, 0.1]), 0.45) == [1, 2]


BOX, ELSEWHERE = np.array([0.0, 0, 10, 10]), np.array([50.0, 50, 60, 60])


def test_mean_average_precision_of_perfect_detections_is_one() -> None:
    truths = [Truth(0, 3, BOX), Truth(1, 7, BOX)]
    found = [Detection(0, 3, 0.9, BOX), Detection(1, 7, 0.2, BOX)]
    assert mean_average_precision(found, truths) == pytest.approx(1.0)


def test_mean_average_precision_counts_a_box_once_and_false_alarms_before_it() -> None:
    truths = [Truth(0, 3, BOX)]
    false_first = [Detection(0, 3, 0.9, ELSEWHERE), Detection(0, 3, 0.8, BOX), Detection(0, 3, 0.7, BOX)]
    assert mean_average_precision(false_first, truths) == pytest.approx(0.5)
    assert mean_average_precision([Detection(1, 3, 0.9, BOX)], truths) == 0.0
    assert mean_average_precision([], truths) == 0.0
