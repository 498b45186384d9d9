"""Criteo click logs: 13 counts and 26 categories per row, in the three forms in which they are kept.

- ``*.npz`` with ``X_int``, ``X_cat`` and ``y`` (what DLRM's preprocessing writes, one file per day);
- ``*.bin``: int32 rows of label, 13 counts, 26 category ids (``terabyte_processed_test.bin``);
- ``*.tsv``, ``*.txt``: Criteo's own text, label, 13 counts, 26 hexadecimal categories, tabs between; categories are
  taken modulo the rows of their embedding table.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engines.engine import Array
from graphs.errors import BadInput

COUNTS, CATEGORIES = 13, 26
"""Columns of a Criteo row."""
COLUMNS = 1 + COUNTS + CATEGORIES
"""With the label."""


@dataclass(frozen=True)
class ClickLog:
    """Rows: ``dense`` float32 [n, 13] as log(1 + count), ``categories`` int64 [n, 26], ``clicked`` int8 [n]."""

    dense: Array
    categories: Array
    clicked: Array


def read_click_log(folder: Path) -> ClickLog:
    """The one log in the folder. Raises ``BadInput`` naming what does not fit."""
    files = [file for pattern in ("*.npz", "*.bin", "*.tsv", "*.txt") for file in sorted(folder.glob(pattern))]
    files = [file for file in files if file.name != "dist_quantile.txt"]
    if len(files) != 1:
        what = "no click log" if not files else f"{len(files)} click logs"
        raise BadInput(what, where=str(folder), expected="one .npz (X_int, X_cat, y), .bin or .tsv file")
    readers = {".npz": _read_npz, ".bin": _read_bin}
    return readers.get(files[0].suffix, _read_text)(files[0])


def _read_npz(path: Path) -> ClickLog:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return _checked(archive["X_int"], archive["X_cat"], archive["y"], path)
    except (KeyError, ValueError, OSError) as error:
        raise BadInput(f"not a processed click log: {error}", where=str(path), expected="X_int, X_cat, y") from error


def _read_bin(path: Path) -> ClickLog:
    size = path.stat().st_size
    if not size or size % (4 * COLUMNS):
        raise BadInput(f"{size} bytes are no rows of {COLUMNS} int32 values", where=str(path))
    rows = np.memmap(path, np.int32, "r").reshape(-1, COLUMNS)
    return _checked(rows[:, 1 : 1 + COUNTS], rows[:, 1 + COUNTS :], rows[:, 0], path)


def _read_text(path: Path) -> ClickLog:
    lines = [line.split("\t") for line in path.read_text(encoding="ascii", errors="replace").splitlines() if line]
    wrong = next((n for n, fields in enumerate(lines, 1) if len(fields) != COLUMNS), None)
    if wrong is not None or not lines:
        raise BadInput(f"line {wrong or 1} has not {COLUMNS} fields", where=str(path), expected="Criteo's own format")
    try:
        numbers = np.array([[int(field or 0) for field in fields[: 1 + COUNTS]] for fields in lines])
        categories = np.array([[int(field or "0", 16) for field in fields[1 + COUNTS :]] for fields in lines])
    except ValueError as error:
        raise BadInput(f"not Criteo's own format: {error}", where=str(path)) from error
    return _checked(numbers[:, 1:], categories, numbers[:, 0], path)


def _checked(counts: Array, categories: Array, clicked: Array, path: Path) -> ClickLog:
    """Counts below zero count as zero. Raises ``BadInput`` for shapes that do not fit each other."""
    if counts.shape[1:] != (COUNTS,) or categories.shape[1:] != (CATEGORIES,) or len(clicked) != len(counts):
        raise BadInput(f"shapes {counts.shape}, {categories.shape}, {clicked.shape}", where=str(path))
    already = counts.dtype.kind == "f"  # the preprocessing of newer rounds stores the logarithm
    dense = counts.astype(np.float32) if already else np.log1p(np.maximum(counts, 0)).astype(np.float32)
    return ClickLog(dense, categories.astype(np.int64), clicked.reshape(-1).astype(np.int8))


def area_under_curve(scores: Array, truth: Array) -> float:
    """AUC of the receiver operating characteristic from ranks (Mann and Whitney, 1947), ties counted half."""
    positives = int(np.count_nonzero(truth))
    negatives = len(truth) - positives
    if not positives or not negatives:
        raise BadInput("all labels are equal", where="click log", expected="clicks and non-clicks")
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    total = float(ranks[inverse][truth != 0].sum())
    return (total - positives * (positives + 1) / 2) / (positives * negatives)
