"""Task metrics as plain functions of numpy arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engines.engine import Array


def roc_auc(positive: Array, scores: Array) -> float:
    """Area under the ROC curve: the probability that a positive scores above a negative, ties counting half.

    ``positive`` and ``scores`` are [N]. From rank sums (Mann and Whitney, 1947). Raises ``ValueError`` where one of the
    two classes is missing.
    """
    positive = np.asarray(positive, bool)
    positives, negatives = int(positive.sum()), int((~positive).sum())
    if not positives or not negatives:
        raise ValueError("ROC AUC needs samples of both classes")
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return float((ranks[positive].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def dice(predicted: Array, truth: Array) -> float:
    """2 |A and B| / (|A| + |B|) of two masks of one shape; 1.0 for two empty ones."""
    predicted, truth = np.asarray(predicted, bool), np.asarray(truth, bool)
    size = int(predicted.sum()) + int(truth.sum())
    return 2.0 * int((predicted & truth).sum()) / size if size else 1.0


@dataclass(frozen=True)
class Detection:
    """A found box: corners x0 y0 x1 y1 in pixels of image ``image``."""

    image: int
    label: int
    score: float
    box: Array


@dataclass(frozen=True)
class Truth:
    """A labelled box."""

    image: int
    label: int
    box: Array


def intersection_over_union(box: Array, others: Array) -> Array:
    """IoU of one box [4] with ``others`` [N, 4], corners x0 y0 x1 y1; [N]."""
    low = np.maximum(box[:2], others[:, :2])
    high = np.minimum(box[2:], others[:, 2:])
    overlap = np.clip(high - low, 0, None).prod(1)
    areas = (others[:, 2:] - others[:, :2]).prod(1)
    return np.asarray(overlap / np.maximum((box[2:] - box[:2]).prod() + areas - overlap, 1e-9))


def suppress(boxes: Array, scores: Array, limit: float) -> list[int]:
    """Greedy non-maximum suppression: indices kept, best first; boxes that overlap a better one above ``limit`` go."""
    kept: list[int] = []
    pending = np.argsort(-scores, kind="stable")
    while len(pending):
        best, rest = int(pending[0]), pending[1:]
        kept.append(best)
        pending = rest[intersection_over_union(boxes[best], boxes[rest]) <= limit]
    return kept


def mean_average_precision(found: Sequence[Detection], truths: Sequence[Truth], threshold: float = 0.5) -> float:
    """Mean over the labelled classes of the area under the interpolated precision-recall curve (PASCAL VOC 2010)."""
    labels = sorted({truth.label for truth in truths})
    return float(np.mean([_average_precision(found, truths, label, threshold) for label in labels]))


def _average_precision(found: Sequence[Detection], truths: Sequence[Truth], label: int, threshold: float) -> float:
    wanted = [truth for truth in truths if truth.label == label]
    ranked = sorted((item for item in found if item.label == label), key=lambda item: -item.score)
    if not ranked:
        return 0.0
    hits = np.cumsum(_hits(ranked, wanted, threshold))
    recall, precision = hits / len(wanted), hits / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall, prepend=0.0) * envelope).sum())


def _hits(ranked: Sequence[Detection], wanted: Sequence[Truth], threshold: float) -> list[int]:
    """1 for a detection whose best box of its image is not taken yet and overlaps enough, else 0."""
    taken: set[int] = set()
    hits = []
    for item in ranked:
        inside = [k for k, truth in enumerate(wanted) if truth.image == item.image]
        overlaps = intersection_over_union(item.box, np.array([wanted[k].box for k in inside])) if inside else [0.0]
        best = int(np.argmax(overlaps))
        hit = bool(inside) and overlaps[best] >= threshold and inside[best] not in taken
        if hit:
            taken.add(inside[best])
        hits.append(int(hit))
    return hits
