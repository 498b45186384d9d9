"""SQuAD v1.1: questions and contexts, and the official metric (exact match and F1 after normalisation).

The metric is the SQuAD authors' ``evaluate-v1.1.py``: lower case, no punctuation, no articles, one space between words;
the best over a question's reference answers, averaged over questions.
"""

from __future__ import annotations

import json
import re
import string
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engines.engine import Array
from graphs.errors import BadInput

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


@dataclass(frozen=True)
class Question:
    """A question about a context, with the answers people gave."""

    id: str
    question: str
    context: str
    answers: tuple[str, ...]


def read_squad(path: Path) -> list[Question]:
    """Every question of a SQuAD v1.1 JSON file. Raises ``BadInput`` naming what the file lacks."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return [
            _question(item, paragraph["context"])
            for article in content["data"]
            for paragraph in article["paragraphs"]
            for item in paragraph["qas"]
        ]
    except OSError as error:
        raise BadInput(f"cannot be read: {error.strerror}", where=str(path), expected="dev-v1.1.json") from None
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(f"not SQuAD v1.1: {type(error).__name__} {error}", where=str(path)) from None


def _question(item: Mapping[str, Any], context: str) -> Question:
    return Question(item["id"], item["question"], context, tuple(answer["text"] for answer in item["answers"]))


def normalise(text: str) -> str:
    """Lower case, without punctuation and articles, single spaces."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(prediction: str, truth: str) -> float:
    return float(normalise(prediction) == normalise(truth))


def f1(prediction: str, truth: str) -> float:
    """Harmonic mean of precision and recall over words, counted with repetition."""
    guessed, wanted = normalise(prediction).split(), normalise(truth).split()
    same = sum((Counter(guessed) & Counter(wanted)).values())
    if not same:
        return 0.0
    precision, recall = same / len(guessed), same / len(wanted)
    return 2 * precision * recall / (precision + recall)


def best_over_answers(metric: Callable[[str, str], float], prediction: str, answers: Sequence[str]) -> float:
    return max((metric(prediction, answer) for answer in answers), default=0.0)


def squad_scores(questions: Sequence[Question], predictions: Mapping[str, str]) -> tuple[Array, Array]:
    """(exact match, F1) per question, fractions; a question without a prediction scores 0."""
    rows = [
        [best_over_answers(metric, predictions.get(q.id, ""), q.answers) for metric in (exact_match, f1)]
        for q in questions
    ]
    scores = np.asarray(rows, np.float64).reshape(-1, 2)
    return scores[:, 0], scores[:, 1]
