"""BERT question answering on SQuAD v1.1: WordPiece tokens in windows of 384, the best span, F1.

The dataset folder holds ``dev-v1.1.json`` and the model's ``vocab.txt`` (or ``tokenizer.json``). A sample is a window,
as in MLPerf (10,833 of them). Models with a dynamic sequence axis get windows padded to the next multiple of 64 instead
of 384, so that a batch holds windows of one bucket.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.score import Score
from benchmarks.workloads.language.spans import MAX_QUERY, Window, best_span, window_bounds
from benchmarks.workloads.language.squad import Question, read_squad, squad_scores
from benchmarks.workloads.workload import Workload
from engines.engine import Array, Feed, TensorSpec
from graphs.errors import BadInput
from graphs.optional_packages import optional

MAX_SEQUENCE = 384
"""Tokens per window, as MLPerf's BERT reference has it."""
BUCKET = 64
"""Lengths are padded to a multiple of this where the model takes any, so that samples can be joined. Chosen."""
DATA_FILE = "dev-v1.1.json"


@dataclass(frozen=True)
class BertInputs:
    """Which input takes token ids, the mask and the segments (None where the model has none), and the length."""

    ids: TensorSpec
    mask: TensorSpec | None
    segments: TensorSpec | None
    length: int | None

    @staticmethod
    def of(specs: Sequence[TensorSpec]) -> BertInputs:
        """Told apart by name: ``…mask…``, ``…segment…`` or ``…type…``, the rest is ids. Raises ``BadInput``."""
        mask = next((spec for spec in specs if "mask" in spec.name.lower()), None)
        segments = next((s for s in specs if any(word in s.name.lower() for word in ("segment", "type"))), None)
        rest = [spec for spec in specs if spec not in (mask, segments)]
        if len(rest) != 1 or any(len(spec.shape) != 2 for spec in specs):
            names = ", ".join(spec.name for spec in specs)
            raise BadInput(f"inputs {names} do not fit", where="bert", expected="ids, mask, segments: [batch, length]")
        length = rest[0].shape[1]
        return BertInputs(rest[0], mask, segments, length if isinstance(length, int) else None)


class SquadWindows:
    """SQuAD for a BERT. Answers are float32 [2, length]: start and end scores of a window."""

    def __init__(self, folder: Path, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> None:
        self._inputs = BertInputs.of(inputs)
        self._outputs = _output_names([spec.name for spec in outputs])
        self._tokenizer = _open_tokenizer(folder)
        self._questions = read_squad(folder / DATA_FILE)
        self._offsets: list[list[tuple[int, int]]] = []
        self._windows: list[Window] = []
        for number, question in enumerate(self._questions):
            self._add(number, question)

    def __len__(self) -> int:
        return len(self._windows)

    def _add(self, number: int, question: Question) -> None:
        query = self._tokenizer.encode(question.question, add_special_tokens=False).ids[:MAX_QUERY]
        context = self._tokenizer.encode(question.context, add_special_tokens=False)
        self._offsets.append(context.offsets)
        start, stop = (self._tokenizer.token_to_id(token) for token in ("[CLS]", "[SEP]"))
        room = (self._inputs.length or MAX_SEQUENCE) - len(query) - 3
        if room < 1:
            raise BadInput(f"takes {self._inputs.length} tokens, too few for {question.id!r}", where="bert")
        for first, last in window_bounds(len(context.ids), room):
            ids = (start, *query, stop, *context.ids[first:last], stop)
            self._windows.append(Window(number, ids, len(query) + 2, first, last))

    def feed(self, index: int) -> Feed:
        window = self._windows[index]
        length = self._inputs.length or min(MAX_SEQUENCE, -(-len(window.ids) // BUCKET) * BUCKET)
        feed = {self._inputs.ids.name: _padded(window.ids, length, self._inputs.ids)}
        if self._inputs.mask is not None:
            feed[self._inputs.mask.name] = _padded([1] * len(window.ids), length, self._inputs.mask)
        if self._inputs.segments is not None:
            feed[self._inputs.segments.name] = _padded(window.segments, length, self._inputs.segments)
        return feed

    def answers(self, outputs: dict[str, Array], rows: Sequence[int]) -> Array:
        first, second = self._outputs
        if not second:  # one output [batch, length, 2]
            return np.ascontiguousarray(outputs[first].astype(np.float32).transpose(0, 2, 1))
        return np.stack([outputs[first], outputs[second]], 1).astype(np.float32)

    def score(self, answers: Mapping[int, Array]) -> Score:
        windows: dict[int, list[int]] = defaultdict(list)
        for index in sorted(answers):
            windows[self._windows[index].question].append(index)
        asked = [self._questions[number] for number in windows]
        predictions = {
            self._questions[number].id: self._text(number, indices, answers) for number, indices in windows.items()
        }
        exact, f1 = squad_scores(asked, predictions)
        return Score("F1", float(f1.mean()), f1, samples=len(answers), details={"exact match": float(exact.mean())})

    def _text(self, number: int, indices: Sequence[int], answers: Mapping[int, Array]) -> str:
        """The characters of the context that the best span covers."""
        span = best_span([self._windows[index] for index in indices], [answers[index] for index in indices])
        if span is None:
            return ""
        offsets = self._offsets[number]
        return self._questions[number].context[offsets[span.start][0] : offsets[span.end][1]]


def _padded(values: Sequence[int], length: int, spec: TensorSpec) -> Array:
    array = np.zeros((1, length), spec.numpy_dtype())
    array[0, : len(values)] = values
    return array


def _output_names(names: Sequence[str]) -> tuple[str, str]:
    starts = [name for name in names if "start" in name.lower()]
    ends = [name for name in names if "end" in name.lower()]
    if starts and ends:
        return starts[0], ends[0]
    if len(names) == 1:
        return names[0], ""
    raise BadInput(
        f"outputs {', '.join(names)} do not fit", where="bert", expected="start and end scores, or both in one"
    )


def _open_tokenizer(folder: Path) -> Any:
    tokenizers = optional("tokenizers", "workloads", "WordPiece tokenization")
    whole, vocabulary = folder / "tokenizer.json", folder / "vocab.txt"
    if whole.is_file():
        tokenizer = tokenizers.Tokenizer.from_file(str(whole))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        return tokenizer
    if not vocabulary.is_file():
        raise BadInput("no vocab.txt or tokenizer.json", where=str(folder), expected="the model's WordPiece vocabulary")
    cased = any(line[:1].isupper() for line in vocabulary.read_text(encoding="utf-8").splitlines())
    return tokenizers.BertWordPieceTokenizer(str(vocabulary), lowercase=not cased)


BERT = Workload(
    name="bert",
    open=SquadWindows,
    metric="F1",
    data=f"SQuAD v1.1: {DATA_FILE}, and the model's vocab.txt",
    reference=0.90874,
    targets=(0.99, 0.999),
    dataset_samples=10_833,
    performance_samples=10_833,
    server_latency_ms=130.0,
    mlperf_name="bert",
    rounds="v0.7 to today",
)
