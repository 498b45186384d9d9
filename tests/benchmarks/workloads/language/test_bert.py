"""SQuAD: the official normalisation, windows over long contexts, and spans back to characters."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.workloads.evaluate import evaluate
from benchmarks.workloads.language.bert import BERT, SquadWindows
from benchmarks.workloads.language.spans import Window, best_span, best_window, window_bounds
from benchmarks.workloads.language.squad import exact_match, f1, normalise
from engines.engine import Array, TensorSpec
from engines.onnxruntime.engine import OnnxRuntimeEngine
from graphs.errors import BadInput
from tests.benchmarks.workloads.graphs_for_tests import save_graph

pytest.importorskip("tokenizers")
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "##s", "sat", "on", "a", "mat", ".", "black"]
WORDS += ["where", "did", "who", "it", "was"]
CONTEXT = "The Cats sat on a mat. It was black."
LONG = " ".join(["the cat sat on a mat."] * 60) + " It was black."
SPECS = tuple(TensorSpec(name, "int64", ("batch", "length")) for name in ("input_ids", "input_mask", "segment_ids"))
OUTPUTS = (TensorSpec("start", "float32", ("b", "l")), TensorSpec("end", "float32", ("b", "l")))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("squad")
    (folder / "vocab.txt").write_text("\n".join(WORDS))

    def asked(name: str, question: str, answer: str) -> dict[str, object]:
        return {"id": name, "question": question, "answers": [{"text": answer, "answer_start": 0}]}

    paragraphs = [
        {
            "context": CONTEXT,
            "qas": [asked("q1", "Where did the cats sit?", "on a mat"), asked("q2", "Who sat?", "Cats")],
        },
        {"context": LONG, "qas": [asked("q3", "Who was black?", "black")]},
    ]
    (folder / "dev-v1.1.json").write_text(json.dumps({"version": "1.1", "data": [{"paragraphs": paragraphs}]}))
    return folder


def pointing_at(task: SquadWindows, index: int, answer: str) -> Array:
    """Scores of a model that knows the answer: highest where its tokens lie, in windows that hold them."""
    window = task._windows[index]
    context = task._questions[window.question].context
    start = context.rindex(answer)
    offsets = task._offsets[window.question]
    scores = np.zeros((2, len(window.ids)), np.float32)
    for token in range(window.first, window.last):
        position = window.context_at + token - window.first
        scores[0, position] = 5.0 * (offsets[token][0] == start)
        scores[1, position] = 5.0 * (offsets[token][1] == start + len(answer))
    return scores


def test_the_official_normalisation() -> None:
    assert normalise("The  Cat's, an apple!") == "cats apple"
    assert exact_match("the Eiffel tower.", "Eiffel Tower") == 1
    assert f1("in the big house", "a house") == pytest.approx(2 * (1 / 3) / (4 / 3))
    assert f1("yes", "no") == 0


def test_an_oracle_scores_one_and_a_wrong_answer_less(folder: Path) -> None:
    task = SquadWindows(folder, SPECS, OUTPUTS)
    truths = ["on a mat", "Cats", "black"]
    answers = {index: pointing_at(task, index, truths[task._windows[index].question]) for index in range(len(task))}
    score = task.score(answers)
    assert (score.value, score.details["exact match"]) == (1.0, 1.0)
    answers[0] = pointing_at(task, 0, "mat")
    score = task.score(answers)
    assert 0.6 < score.value < 1 and score.details["exact match"] == pytest.approx(2 / 3)


def test_long_contexts_become_windows_and_short_ones_short_buckets(folder: Path) -> None:
    task = SquadWindows(folder, SPECS, OUTPUTS)
    questions = [window.question for window in task._windows]
    assert questions[:2] == [0, 1] and questions.count(2) > 1
    short, full = task.feed(0), task.feed(2)
    assert short["input_ids"].shape == (1, 64) and full["input_ids"].shape == (1, 384)
    length = int(short["input_mask"].sum())
    assert short["input_ids"][0, 0] == WORDS.index("[CLS]") and short["input_ids"][0, length - 1] == WORDS.index(
        "[SEP]"
    )
    assert short["segment_ids"].sum() == length - task._windows[0].context_at
    fixed = SquadWindows(folder, tuple(TensorSpec(s.name, "int32", (1, 128)) for s in SPECS), OUTPUTS)
    assert fixed.feed(0)["input_ids"].shape == (1, 128) and fixed.feed(0)["input_ids"].dtype == np.int32


def test_windows_overlap_and_a_token_counts_where_it_has_most_context() -> None:
    bounds = window_bounds(500, 300, 128)
    assert bounds == [(0, 300), (128, 428), (256, 500)]
    assert best_window(bounds, 10) == 0
    assert best_window(bounds, 270) == 1, "29 tokens to its right in window 0, 142 to its left in window 1"
    assert window_bounds(0, 300) == [(0, 0)]


def test_spans_are_ordered_short_and_inside_the_context() -> None:
    window = Window(0, tuple(range(60)), 10, 0, 49)
    scores = np.zeros((2, 60), np.float32)
    scores[0, 3], scores[1, 5] = 8.0, 8.0  # in the question
    scores[0, 12], scores[1, 55] = 5.0, 9.0  # 44 tokens, more than 30
    scores[1, 20], scores[1, 11] = 4.5, 6.0  # the one ends in time, the other before it starts
    span = best_span([window], [scores])
    assert span is not None and (span.start, span.end, span.score) == (2, 10, 9.5)
    assert best_span([Window(0, (1, 2, 3), 2, 0, 0)], [np.zeros((2, 3))]) is None


def test_a_real_engine_runs_buckets_of_different_lengths(folder: Path, tmp_path: Path) -> None:
    model = save_graph(
        """
        bert (int64[batch,length] ids, int64[batch,length] attention_mask) => (float[batch,length,2] logits) {
            both = Mul(ids, attention_mask)
            scores = Cast <to = 1> (both)
            column = Unsqueeze(scores, last)
            logits = Concat <axis = -1> (column, column)
        }""",
        tmp_path / "bert.onnx",
        {"last": np.array([-1])},
    )
    with OnnxRuntimeEngine(model) as engine:
        task = BERT.open(folder, engine.inputs, engine.outputs)
        assert evaluate(engine, task, batch=4).value == evaluate(engine, task, batch=1).value


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"no vocab\.txt"):
        SquadWindows(tmp_path, SPECS, OUTPUTS)
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS))
    with pytest.raises(BadInput, match=r"dev-v1\.1\.json: cannot be read"):
        SquadWindows(tmp_path, SPECS, OUTPUTS)
    (tmp_path / "dev-v1.1.json").write_text('{"data": [{}]}')
    with pytest.raises(BadInput, match=r"not SQuAD v1\.1: KeyError 'paragraphs'"):
        SquadWindows(tmp_path, SPECS, OUTPUTS)
