"""Translation from English to German with GNMT on WMT16's newstest2014: BLEU (sacrebleu).

The dataset folder holds ``newstest2014.tok.bpe.32000.en`` and ``.de`` (one sentence a line, in byte pairs) and
``vocab.bpe.32000`` with ``<unk>``, ``<s>``, ``</s>`` first. The engine is one graph from ids to ids, or a folder with
``encoder`` and ``decoder`` (``benchmarks.workloads.language.beam``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.score import Score
from benchmarks.workloads.language.beam import BeamSearchEngine
from benchmarks.workloads.workload import Workload, split_rows
from engines.engine import Array, Engine, Feed, TensorSpec
from graphs.errors import BadInput
from graphs.optional_packages import optional

SOURCE, TARGET = "newstest2014.tok.bpe.32000.en", "newstest2014.tok.bpe.32000.de"
VOCABULARY = "vocab.bpe.32000"
UNKNOWN, START, END = "<unk>", "<s>", "</s>"


class Translation:
    """newstest2014 for a translator. Answers are token ids, int32, up to the end of the sentence."""

    def __init__(self, folder: Path, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> None:
        whole = [spec for spec in inputs if len(spec.shape) == 2 and "int" in spec.dtype]
        if len(whole) != 1 or len(inputs) > 2:
            raise BadInput(
                "inputs do not fit", where="gnmt", expected="ids integer [batch, length] (and lengths [batch])"
            )
        self._ids, self._others = whole[0], [spec for spec in inputs if spec is not whole[0]]
        self._tokens = _lines(folder / VOCABULARY)
        if tuple(self._tokens[:3]) != (UNKNOWN, START, END):
            raise BadInput(f"starts with {self._tokens[:3]}", where=VOCABULARY, expected=f"{UNKNOWN}, {START}, {END}")
        self._number = {token: number for number, token in enumerate(self._tokens)}
        self._sources, self._targets = _lines(folder / SOURCE), _lines(folder / TARGET)
        if len(self._sources) != len(self._targets):
            raise BadInput(f"{len(self._sources)} lines and {len(self._targets)} translations", where=str(folder))

    def __len__(self) -> int:
        return len(self._sources)

    def feed(self, index: int) -> Feed:
        ids = [self._number.get(token, 0) for token in self._sources[index].split()]
        feed = {self._ids.name: np.array([ids], self._ids.dtype)}
        return {**feed, **{spec.name: np.array([len(ids)], spec.dtype) for spec in self._others}}

    def answers(self, outputs: dict[str, Array], rows: Sequence[int]) -> list[Array]:
        return [self._until_end(next(iter(part.values())).reshape(-1)) for part in split_rows(outputs, rows)]

    def _until_end(self, tokens: Array) -> Array:
        ends = np.flatnonzero(tokens == self._number[END])
        return tokens[: ends[0] if len(ends) else len(tokens)].astype(np.int32)

    def score(self, answers: Mapping[int, Array]) -> Score:
        """Corpus BLEU of the tokenised text, byte pairs joined, without smoothing (what the reference computes)."""
        sacrebleu = optional("sacrebleu", "workloads", "BLEU")
        order = sorted(answers)
        found = [self._text(answers[index]) for index in order]
        wanted = [_joined(self._targets[index]) for index in order]
        bleu = sacrebleu.corpus_bleu(found, [wanted], tokenize="none", smooth_method="none", force=True)
        return Score("BLEU", float(bleu.score), samples=len(order))

    def _text(self, tokens: Array) -> str:
        words = [self._tokens[token] if 0 <= token < len(self._tokens) else UNKNOWN for token in tokens]
        return _joined(" ".join(word for word in words if word != START))


def _joined(text: str) -> str:
    """Byte pairs to words: ``trans@@ lation`` is ``translation``."""
    return f"{text} ".replace("@@ ", "").strip()


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise BadInput(f"cannot be read: {error.strerror}", where=str(path), expected="WMT16's prepared data") from None


def open_translator(source: str) -> Engine:
    """A folder with ``encoder`` and ``decoder``, or one graph."""
    from engines.source import open_source

    folder = Path(source)
    parts = any((folder / name).exists() for name in ("encoder", "encoder.onnx"))
    return BeamSearchEngine.open(source) if parts else open_source(source)


GNMT = Workload(
    name="gnmt",
    open=Translation,
    metric="BLEU",
    data=f"WMT16 newstest2014: {SOURCE}, {TARGET}, {VOCABULARY}",
    reference=23.9,
    dataset_samples=3003,
    performance_samples=3903,
    server_latency_ms=250.0,
    mlperf_name="gnmt",
    rounds="v0.5",
    open_engine=open_translator,
    notes=("v0.5 bounded the 97th percentile; here the bound is on the 99th, as in every later round",),
)
