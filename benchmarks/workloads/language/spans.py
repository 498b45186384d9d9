"""Question answering as span extraction: windows over a tokenised context, and the best span out of start and end
scores, as BERT's ``run_squad.py`` does (Devlin et al., 2019).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engines.engine import Array

DOC_STRIDE = 128
"""Tokens by which windows over a long context advance. This and the next three are the defaults of run_squad.py."""
MAX_QUERY = 64
"""Longest question in tokens."""
N_BEST = 20
"""Candidates for start and for end."""
MAX_ANSWER = 30
"""Longest answer in tokens."""


@dataclass(frozen=True)
class Window:
    """One model input of a question: the query, and the context's tokens ``first`` to ``last`` (exclusive).

    ``ids`` are [CLS] query [SEP] context [SEP]; ``context_at`` is the position of the context's first token.
    """

    question: int
    ids: tuple[int, ...]
    context_at: int
    first: int
    last: int

    @property
    def segments(self) -> list[int]:
        return [0] * self.context_at + [1] * (len(self.ids) - self.context_at)


def window_bounds(tokens: int, room: int, stride: int = DOC_STRIDE) -> list[tuple[int, int]]:
    """(first, last) of overlapping windows of ``room`` tokens over a context of ``tokens`` tokens."""
    bounds = []
    for start in range(0, max(tokens, 1), stride):
        bounds.append((start, min(start + room, tokens)))
        if start + room >= tokens:
            break
    return bounds


def best_window(bounds: Sequence[tuple[int, int]], token: int) -> int:
    """The window in which ``token`` has the most context: the smaller of what lies left and right of it, plus a
    hundredth of the window's length.
    """

    def context(window: tuple[int, int]) -> float:
        first, last = window
        return min(token - first, last - 1 - token) + 0.01 * (last - first)

    inside = [number for number, (first, last) in enumerate(bounds) if first <= token < last]
    return max(inside, key=lambda number: (context(bounds[number]), -number))


@dataclass(frozen=True)
class Span:
    """Context tokens ``start`` to ``end`` (inclusive) with the sum of their scores."""

    start: int
    end: int
    score: float


def best_span(windows: Sequence[Window], logits: Sequence[Array]) -> Span | None:
    """The highest-scored span over a question's windows; None where no span is allowed.

    ``logits`` are float [2, length] per window: start and end scores. Starts and ends are taken from the 20 highest of
    each window; a span is at most 30 tokens, and starts in the window where its first token has the most context.
    """
    bounds = [(window.first, window.last) for window in windows]
    best: Span | None = None
    for number, (window, scores) in enumerate(zip(windows, logits, strict=True)):
        for start in _highest(scores[0]):
            first = window.first + int(start) - window.context_at
            if not window.first <= first < window.last or best_window(bounds, first) != number:
                continue
            for end in _highest(scores[1]):
                last = first + int(end - start)
                score = float(scores[0, start] + scores[1, end])
                if first <= last < min(window.last, first + MAX_ANSWER) and (best is None or score > best.score):
                    best = Span(first, last, score)
    return best


def _highest(scores: Array) -> Array:
    """Positions of the ``N_BEST`` highest scores, best first, ties in order."""
    return np.argsort(-scores, kind="stable")[:N_BEST]
