"""A six-layer BERT sentence encoder. Lines of package descriptions, each labelled with one of 18 sections.

A logistic regression on FP32 embeddings of the training lines is the fixed head; the metric is its accuracy on
embeddings of the test lines. Training lines joined to 4 to 200 tokens calibrate; fifty news documents and test lines
are held back.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from engines.engine import Array, Feed
from studies.baselines.task import Infer

LINES_JOINED = (1, 1, 2, 4, 8, 14)


class MiniLm:
    metric = "section probe accuracy (fixed FP32 head)"
    output = "sentence_embedding"
    transformer = True

    def __init__(self, folder: Path, cache: Path) -> None:
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.enable_truncation(256)
        self._tokenizer.no_padding()
        rows = [line.split("\t") for line in (folder / "sections.tsv").read_text("utf-8").splitlines()]
        self._train = [row for row in rows if row[0] == "train"]
        test = [row for row in rows if row[0] == "test"]
        self._test = [test[k] for k in np.random.default_rng(1).permutation(len(test))]
        self._documents = [line for line in (folder / "lee.cor").read_text("latin-1").splitlines() if line.strip()]
        self._head_file = cache / "minilm-head.npz"

    def calibration(self, quick: bool) -> list[Feed]:
        rng = np.random.default_rng(0)
        lines = [row[2] for row in self._train]
        counts = np.resize(LINES_JOINED, 12 if quick else 128)
        return self._feeds([". ".join(lines[k] for k in rng.integers(0, len(lines), count)) for count in counts])

    def held_back(self, quick: bool) -> list[Feed]:
        count = 8 if quick else 50
        return self._feeds([*self._documents[:count], *(row[2] for row in self._test[: 2 * count])])

    def half(self, which: int) -> MiniLm:
        part = copy(self)
        part._test = self._test[which::2]
        return part

    def score(self, infer: Infer, reference: Infer, quick: bool) -> float:
        weight, bias, classes = self._head(reference)
        rows = self._test[: 180 if quick else None]
        logits = self._embed(infer, [row[2] for row in rows]) @ weight.T + bias
        return float((classes[logits.argmax(1)] == np.array([row[1] for row in rows])).mean())

    def _head(self, reference: Infer) -> tuple[Array, Array, Array]:
        """Weight [18, 384], bias [18] and class names [18] of the probe, fitted once on FP32 embeddings."""
        if not self._head_file.exists():
            from sklearn.linear_model import LogisticRegression

            embedded = self._embed(reference, [row[2] for row in self._train])
            fitted = LogisticRegression(max_iter=500, C=10).fit(embedded, [row[1] for row in self._train])
            np.savez(self._head_file, weight=fitted.coef_, bias=fitted.intercept_, classes=fitted.classes_.astype(str))
        with np.load(self._head_file) as head:
            return head["weight"], head["bias"], head["classes"]

    def _embed(self, infer: Infer, texts: Sequence[str]) -> Array:
        """[len(texts), 384]; lines of like length share a batch of 32."""
        encoded = [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts))]
        order = sorted(range(len(encoded)), key=lambda k: len(encoded[k]))
        found = np.empty((len(encoded), 384), np.float32)
        for start in range(0, len(order), 32):
            group = order[start : start + 32]
            found[group] = infer(_padded([encoded[k] for k in group]))[self.output]
        return found

    def _feeds(self, texts: Sequence[str]) -> list[Feed]:
        return [_padded([encoding.ids]) for encoding in self._tokenizer.encode_batch(list(texts))]


def _padded(token_ids: Sequence[Sequence[int]]) -> Feed:
    length = max(map(len, token_ids))
    ids = np.array([[*row, *[0] * (length - len(row))] for row in token_ids], np.int64)
    mask = np.array([[1] * len(row) + [0] * (length - len(row)) for row in token_ids], np.int64)
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}


def open_task(folder: Path, cache: Path) -> MiniLm:
    return MiniLm(folder, cache)
