"""Translation with an encoder and a decoder graph: beam search, as one engine.

The engine is a folder with ``encoder`` and ``decoder`` (each ``.onnx`` or a bundle's engine folder):

- encoder: ids integer [batch, length] (and lengths integer [batch]) -> the memory, and what the decoder starts from;
- decoder: token integer [hypotheses, 1], the encoder's outputs under the same names, and states with one row per
  hypothesis -> scores [hypotheses, …, vocabulary] (log-probabilities or logits), then the states in the order of their
  inputs. A state named like an encoder output starts as that, any other as zeros.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.workloads.graphs import LoopedEngine, open_parts
from engines.engine import Array, Engine, Feed, TensorSpec
from engines.errors import EngineError
from graphs.errors import BadInput

IDS, LENGTHS, TOKENS = "ids", "lengths", "tokens"
BEAMS = 10
"""Hypotheses kept, as MLPerf's GNMT reference does."""
PENALTY = 1.0  # length penalty of Wu et al., 2016, equation 14


@dataclass(frozen=True)
class Hypothesis:
    """Tokens so far and the sum of their log-probabilities."""

    tokens: tuple[int, ...]
    log_probability: float

    @property
    def score(self) -> float:
        return float(self.log_probability / ((5 + len(self.tokens)) / 6) ** PENALTY)


class BeamSearchEngine(LoopedEngine):
    """ids int64 [1, length] -> tokens int32 [1, length of the translation], without start and end."""

    inputs = (TensorSpec(IDS, "int64", (1, "length")),)
    outputs = (TensorSpec(TOKENS, "int32", (1, "translated")),)

    def __init__(self, encoder: Engine, decoder: Engine, *, start: int = 1, end: int = 2, beams: int = BEAMS) -> None:
        super().__init__({"encoder": encoder, "decoder": decoder})
        self._start, self._end, self._beams = start, end, beams
        known = {spec.name for spec in encoder.outputs}
        tokens = [s for s in decoder.inputs if "int" in s.dtype and s.name not in known]
        if not tokens:
            raise BadInput("has no integer input for the token", where="decoder")
        self._token = tokens[0]
        rest = [spec for spec in decoder.inputs if spec is not self._token]
        states = len(decoder.outputs) - 1
        self._memory, self._states = rest[: len(rest) - states], rest[len(rest) - states :]

    @staticmethod
    def open(folder: str) -> BeamSearchEngine:
        parts = open_parts(folder, ("encoder", "decoder"))
        return BeamSearchEngine(parts["encoder"], parts["decoder"])

    def infer(self, feed: Feed) -> dict[str, Array]:
        ids = feed[IDS]
        encoder = self.parts["encoder"]
        values = {spec.name: ids if len(spec.shape) == 2 else np.array([ids.shape[1]]) for spec in encoder.inputs}
        encoded = encoder.infer({s.name: values[s.name].astype(s.dtype, copy=False) for s in encoder.inputs})
        best = self._search(encoded, limit=2 * ids.shape[1])
        return {TOKENS: np.array([best.tokens], np.int32).reshape(1, -1)}

    def _search(self, encoded: dict[str, Array], limit: int) -> Hypothesis:
        """Stop when the best finished hypothesis beats every open one, at twice the source's length at the latest."""
        beams = [Hypothesis((), 0.0)]
        states = [encoded.get(spec.name, _zeros(spec)) for spec in self._states]
        finished: list[Hypothesis] = []
        for _ in range(limit):
            scores, states = self._step(beams, encoded, states)
            beams, parents = self._extend(beams, scores, finished)
            if not beams or (finished and max(h.score for h in finished) >= max(h.score for h in beams)):
                break
            states = [state[parents] for state in states]
        return max(finished or beams, key=lambda hypothesis: hypothesis.score)

    def _step(
        self, beams: Sequence[Hypothesis], encoded: dict[str, Array], states: Sequence[Array]
    ) -> tuple[Array, list[Array]]:
        """(log-probabilities [hypotheses, vocabulary], the states after)."""
        last = [hypothesis.tokens[-1] if hypothesis.tokens else self._start for hypothesis in beams]
        feed = {self._token.name: np.array(last, self._token.dtype).reshape(-1, *[1] * (len(self._token.shape) - 1))}
        for spec in self._memory:
            if spec.name not in encoded:
                raise EngineError(f"wants {spec.name!r}, which the encoder does not give", where="decoder")
            feed[spec.name] = np.repeat(encoded[spec.name], len(beams), 0)
        feed.update({spec.name: state for spec, state in zip(self._states, states, strict=True)})
        scores, *after = self.parts["decoder"].infer(feed).values()
        if np.isnan(scores).any():  # the tokens would hide it
            raise EngineError("gives NaN scores", where="decoder")
        logits = scores.reshape(len(beams), -1).astype(np.float64)
        logits -= logits.max(1, keepdims=True)
        return logits - np.log(np.exp(logits).sum(1, keepdims=True)), after

    def _extend(
        self, beams: Sequence[Hypothesis], scores: Array, finished: list[Hypothesis]
    ) -> tuple[list[Hypothesis], list[int]]:
        """The best hypotheses one token longer, and the row each came from; those that end go to ``finished``."""
        totals = scores + np.array([hypothesis.log_probability for hypothesis in beams])[:, None]
        best = np.argsort(-totals, axis=None, kind="stable")[: 2 * self._beams]
        longer: list[Hypothesis] = []
        parents: list[int] = []
        for row, token in zip(*np.unravel_index(best, totals.shape), strict=True):
            total = float(totals[row, token])
            if token == self._end:
                finished.append(Hypothesis(beams[row].tokens, total))
            elif len(longer) < self._beams:
                longer.append(Hypothesis((*beams[row].tokens, int(token)), total))
                parents.append(int(row))
        return longer, parents


def _zeros(spec: TensorSpec) -> Array:
    return np.zeros([d if isinstance(d, int) else 1 for d in spec.shape], spec.dtype)
