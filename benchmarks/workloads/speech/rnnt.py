"""Speech recognition with RNN-T on LibriSpeech: three ONNX graphs, greedy decoding, word error rate.

The engine is a folder with ``encoder``, ``decoder`` and ``joint`` (each ``.onnx`` or a bundle's engine folder):

- encoder: features float32 [time, batch, 240] or [batch, time, 240], lengths integer [batch] -> encoded
  [batch, time, width] (and lengths);
- decoder (prediction network): token integer [batch, 1] and its recurrent states -> [batch, 1, width] and the states;
- joint: encoded [batch, 1, width], predicted [batch, 1, width] -> scores [batch, …, 29].

Tokens 0 to 27 are ``" abcdefghijklmnopqrstuvwxyz'"``, 28 is blank. The decoder starts from zero states and the blank.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.score import Score
from benchmarks.workloads.graphs import LoopedEngine, open_parts
from benchmarks.workloads.speech.librispeech import read_audio, read_utterances, word_errors
from benchmarks.workloads.speech.log_mel import features
from benchmarks.workloads.workload import Workload
from engines.engine import Array, Engine, Feed, TensorSpec
from engines.errors import EngineError
from graphs.errors import BadInput

ALPHABET = " abcdefghijklmnopqrstuvwxyz'"
BLANK = len(ALPHABET)
MAX_SYMBOLS = 30  # per encoded frame
FEATURES, LENGTHS, TOKENS = "features", "lengths", "tokens"


class RnntEngine(LoopedEngine):
    """features [batch, time, 240] -> tokens int32 [batch, symbols], padded with -1; one utterance at a time."""

    inputs = (TensorSpec(FEATURES, "float32", (1, "time", 240)), TensorSpec(LENGTHS, "int64", (1,)))
    outputs = (TensorSpec(TOKENS, "int32", (1, "symbols")),)

    def __init__(self, encoder: Engine, decoder: Engine, joint: Engine) -> None:
        super().__init__({"encoder": encoder, "decoder": decoder, "joint": joint})
        self._time_first = _time_first(encoder)
        token, *states = sorted(decoder.inputs, key=lambda spec: "int" not in spec.dtype)
        if "int" not in token.dtype:
            raise BadInput("has no integer input for the token", where="decoder")
        self._token, self._states = token, states

    @staticmethod
    def open(folder: str) -> RnntEngine:
        """From a folder with the three graphs. Raises ``BadInput`` naming the one that is missing."""
        parts = open_parts(folder, ("encoder", "decoder", "joint"))
        return RnntEngine(parts["encoder"], parts["decoder"], parts["joint"])

    def infer(self, feed: Feed) -> dict[str, Array]:
        encoded = self._encode(feed[FEATURES], feed[LENGTHS])
        return {TOKENS: np.array([self._decode(encoded)], np.int32).reshape(1, -1)}

    def _encode(self, values: Array, lengths: Array) -> Array:
        """[time, width] of one utterance."""
        encoder = self.parts["encoder"]
        inputs = {}
        for spec in encoder.inputs:
            whole = len(spec.shape) == 3
            array = (values.transpose(1, 0, 2) if self._time_first else values) if whole else lengths
            inputs[spec.name] = np.ascontiguousarray(array.astype(spec.dtype, copy=False))
        outputs = list(encoder.infer(inputs).values())
        encoded = next(array for array in outputs if array.ndim == 3)[0]
        counts = [array for array in outputs if array.dtype.kind in "iu"]
        return np.asarray(encoded[: int(counts[0].reshape(-1)[0])] if counts else encoded)

    def _decode(self, encoded: Array) -> list[int]:
        """At each frame take the most probable symbol until it is blank, at most 30 (as the reference does)."""
        said: list[int] = []
        predicted, states = self._predict(BLANK, self._start())
        for frame in encoded:
            for _ in range(MAX_SYMBOLS):
                symbol = self._joined(frame, predicted)
                if symbol == BLANK:
                    break
                said.append(symbol)
                predicted, states = self._predict(symbol, states)
        return said

    def _start(self) -> list[Array]:
        shapes = [[d if isinstance(d, int) else 1 for d in spec.shape] for spec in self._states]
        return [np.zeros(shape, spec.dtype) for shape, spec in zip(shapes, self._states, strict=True)]

    def _predict(self, token: int, states: Sequence[Array]) -> tuple[Array, list[Array]]:
        rank = len(self._token.shape)
        feed = {self._token.name: np.full([1] * rank, token, self._token.dtype)}
        feed.update({spec.name: state for spec, state in zip(self._states, states, strict=True)})
        predicted, *after = self.parts["decoder"].infer(feed).values()
        return predicted, after

    def _joined(self, frame: Array, predicted: Array) -> int:
        joint = self.parts["joint"]
        first, second = joint.inputs
        frame = frame.reshape(1, 1, -1)
        scores = next(iter(joint.infer({first.name: frame, second.name: predicted.reshape(1, 1, -1)}).values()))
        if scores.shape[-1] != BLANK + 1:
            raise EngineError(f"gives {scores.shape[-1]} scores", where="joint", expected=f"{BLANK + 1}")
        if np.isnan(scores).any():  # the symbol would hide it
            raise EngineError("gives NaN scores", where="joint")
        return int(scores.reshape(-1, BLANK + 1)[0].argmax())


def _time_first(encoder: Engine) -> bool:
    """Whether features are [time, batch, 240]: told by a first axis named like time, or a second fixed at 1."""
    shape = next((spec.shape for spec in encoder.inputs if len(spec.shape) == 3), None)
    if shape is None:
        raise BadInput("has no input of features", where="encoder", expected="[batch, time, 240] or [time, batch, 240]")
    first = str(shape[0]).lower()
    return shape[1] == 1 or first.startswith(("t", "seq", "frame", "len"))


class Speech:
    """LibriSpeech for an RNN-T. Answers are token ids, int32; the metric is 1 - WER, so that more is better."""

    def __init__(self, folder: Path, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> None:
        self._utterances = read_utterances(folder)

    def __len__(self) -> int:
        return len(self._utterances)

    def feed(self, index: int) -> Feed:
        values = features(read_audio(self._utterances[index].audio))
        return {FEATURES: values[None], LENGTHS: np.array([len(values)], np.int64)}

    def answers(self, outputs: dict[str, Array], rows: Sequence[int]) -> list[Array]:
        return [tokens[tokens >= 0] for tokens in outputs[TOKENS]]

    def score(self, answers: Mapping[int, Array]) -> Score:
        """WER over all words of all utterances, as the reference computes it."""
        counts = [word_errors(self._utterances[index].transcript, text(answers[index])) for index in sorted(answers)]
        edits, words = (sum(column) for column in zip(*counts, strict=True))
        rate = edits / max(words, 1)
        return Score("1 - WER", 1.0 - rate, samples=len(counts), details={"WER": rate})


def text(tokens: Array) -> str:
    return "".join(ALPHABET[token] for token in tokens)


RNNT = Workload(
    name="rnnt",
    open=Speech,
    metric="1 - WER",
    data="LibriSpeech dev-clean (its own layout, or MLPerf's manifest dev-clean-wav.json with WAV files)",
    reference=1.0 - 0.07452,
    dataset_samples=2513,
    performance_samples=2513,
    server_latency_ms=1000.0,
    mlperf_name="rnnt",
    rounds="v0.7 to v3.1",
    open_engine=RnntEngine.open,
)
