"""Translation: byte pairs to words, beam search against trying everything, BLEU."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest

from benchmarks.workloads.evaluate import evaluate
from benchmarks.workloads.language.beam import BeamSearchEngine, Hypothesis
from benchmarks.workloads.language.gnmt import GNMT, open_translator
from engines.onnxruntime.engine import OnnxRuntimeEngine
from graphs.errors import BadInput
from tests.benchmarks.workloads.graphs_for_tests import save_graph

pytest.importorskip("sacrebleu")
TOKENS = ["<unk>", "<s>", "</s>", "the", "cat", "s@@", "at", "on", "mats", "."]
VOCABULARY = len(TOKENS)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "vocab.bpe.32000").write_text("\n".join(TOKENS))
    (tmp_path / "newstest2014.tok.bpe.32000.en").write_text("the cat s@@ at on mats .\non the mats s@@ at cat .\n")
    (tmp_path / "newstest2014.tok.bpe.32000.de").write_text("the cat s@@ at on mats .\non the mats s@@ at cat .\n")
    return tmp_path


def test_a_translator_that_copies_scores_a_hundred_and_a_changed_text_less(folder: Path) -> None:
    model = save_graph(
        "copy (int64[batch,length] ids) => (int64[batch,length] out) { out = Identity(ids) }", folder / "copy.onnx"
    )
    with OnnxRuntimeEngine(model) as engine:
        task = GNMT.open(folder, engine.inputs, engine.outputs)
        assert evaluate(engine, task).value == pytest.approx(100.0)
        assert task.feed(0)["ids"].tolist() == [[3, 4, 5, 6, 7, 8, 9]]
        (folder / "newstest2014.tok.bpe.32000.de").write_text("the dog s@@ at on mats .\non the mats s@@ at cat .\n")
        assert 10 < evaluate(engine, GNMT.open(folder, engine.inputs, engine.outputs)).value < 95
    answer = task.answers({"out": np.array([[3, 4, 2, 9, 9]])}, [1])[0]
    assert answer.tolist() == [3, 4], "what follows the end of the sentence does not count"


@pytest.fixture
def graphs(tmp_path: Path) -> Path:
    """The decoder's scores depend on the last token, a state that fades, and the source."""
    rng = np.random.default_rng(2)
    save_graph(
        """
        encoder (int64[batch,length] ids) => (float[batch,1] memory) {
            values = Cast <to = 1> (ids)
            memory = ReduceMean <axes = [1], keepdims = 1> (values)
        }""",
        tmp_path / "encoder.onnx",
    )
    save_graph(
        """
        decoder (int64[k,1] token, float[k,1] memory, float[k,5] state) => (float[k,5] scores, float[k,5] next) {
            flat = Squeeze(token, axis)
            row = Gather(table, flat)
            faded = Mul(state, half)
            next = Add(faded, row)
            source = Mul(memory, tenth)
            scores = Add(next, source)
        }""",
        tmp_path / "decoder.onnx",
        {
            "table": rng.standard_normal((5, 5)).astype(np.float32) * 2,
            "half": np.array(0.5, np.float32),
            "tenth": np.array(0.1, np.float32),
            "axis": np.array([1]),
        },
    )
    return tmp_path


def test_a_wide_beam_finds_the_best_of_all_translations(graphs: Path) -> None:
    with open_translator(str(graphs)) as engine:
        assert isinstance(engine, BeamSearchEngine)
        engine._beams = 200
        ids = np.array([[3, 4]])
        found = tuple(engine.infer({"ids": ids})["tokens"][0].tolist())
        encoded = engine.parts["encoder"].infer({"ids": ids})
        best = max(
            (scored(engine, encoded, tokens) for n in range(4) for tokens in product((0, 1, 3, 4), repeat=n)),
            key=lambda hypothesis: hypothesis.score,
        )
    assert found == best.tokens


def scored(engine: BeamSearchEngine, encoded: dict, tokens: tuple[int, ...]) -> Hypothesis:  # type: ignore[type-arg]
    """The score of one finished translation, token by token."""
    states = [np.zeros((1, 5), np.float32)]
    total, so_far = 0.0, Hypothesis((), 0.0)
    for token in (*tokens, 2):
        scores, states = engine._step([so_far], encoded, states)
        total += float(scores[0, token])
        so_far = Hypothesis((*so_far.tokens, token), total)
    return Hypothesis(tokens, total)


def test_unusable_data_is_named(folder: Path) -> None:
    model = save_graph(
        "copy (int64[batch,length] ids) => (int64[batch,length] out) { out = Identity(ids) }", folder / "copy.onnx"
    )
    with OnnxRuntimeEngine(model) as engine:
        (folder / "vocab.bpe.32000").write_text("the\ncat\n")
        with pytest.raises(BadInput, match=r"starts with \['the', 'cat'\]"):
            GNMT.open(folder, engine.inputs, engine.outputs)
        (folder / "vocab.bpe.32000").unlink()
        with pytest.raises(BadInput, match=r"vocab\.bpe\.32000: cannot be read"):
            GNMT.open(folder, engine.inputs, engine.outputs)
