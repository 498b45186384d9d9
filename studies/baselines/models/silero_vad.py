"""Silero voice activity detection on recorded prompts with noise at 5 dB; labels by construction.

A frame of 32 ms is speech where the clean recording is within 25 dB of its loud frames, silence where it is 45 dB below
them, and not scored between. Every other recording calibrates, the rest are held back; the metric runs the model frame
by frame with its own state carried over.
"""

from __future__ import annotations

import wave
from collections.abc import Iterator
from copy import copy
from pathlib import Path

import numpy as np
from scipy.signal import resample_poly

from engines.engine import Array, Feed
from engines.onnxruntime.engine import OnnxRuntimeEngine
from studies.baselines.metrics import roc_auc
from studies.baselines.task import Infer

RATE, FRAME, CONTEXT = 16000, 512, 64  # hertz; samples of a frame and before it: Silero's own
SPEECH_DB, SILENCE_DB, NOISE_DB = -25.0, -45.0, -5.0


class Silero:
    metric = "frame ROC AUC"
    output = "output"
    transformer = False

    def __init__(self, folder: Path) -> None:
        self._model = folder / "model.onnx"
        self._files = list(enumerate(sorted((folder / "wav").glob("*.wav"))))
        self._scored = self._files[1::2]

    def calibration(self, quick: bool) -> list[Feed]:
        return self._frames(self._files[0::2][:22], 32 if quick else 256)

    def held_back(self, quick: bool) -> list[Feed]:
        return self._frames(self._files[1::2][:10], 128 if quick else 1024)

    def half(self, which: int) -> Silero:
        part = copy(self)
        part._scored = self._scored[which::2]
        return part

    def score(self, infer: Infer, reference: Infer, quick: bool) -> float:
        scores, labels = [], []
        for index, file in self._scored[: 4 if quick else None]:
            audio, label = _noisy(file, index)
            found = np.array([outputs["output"][0, 0] for _, outputs in _stream(infer, audio)])
            scores.append(found[label >= 0])
            labels.append(label[label >= 0])
        return roc_auc(np.concatenate(labels) == 1, np.concatenate(scores))

    def _frames(self, files: list[tuple[int, Path]], count: int) -> list[Feed]:
        """Frames spread over the recordings, with the state that the FP32 model carried into them."""
        with OnnxRuntimeEngine(self._model, threads=1) as engine:
            feeds = [
                feed for index, file in files for feed, _ in _stream(engine.infer, _noisy(file, index)[0][: 8 * RATE])
            ]
        chosen = np.random.default_rng(0).permutation(len(feeds))[:count]
        return [feeds[k] for k in np.sort(chosen)]


def _stream(infer: Infer, audio: Array) -> Iterator[tuple[Feed, dict[str, Array]]]:
    """Every frame's feed and outputs, in order."""
    state, context = np.zeros((2, 1, 128), np.float32), np.zeros((1, CONTEXT), np.float32)
    for start in range(0, len(audio) - FRAME + 1, FRAME):
        frame = audio[None, start : start + FRAME]
        feed = {"input": np.concatenate([context, frame], 1), "state": state, "sr": np.array(RATE, np.int64)}
        outputs = infer(feed)
        yield feed, outputs
        state, context = outputs["stateN"], frame[:, -CONTEXT:]


def _noisy(file: Path, index: int) -> tuple[Array, Array]:
    """Audio [N * 512] with a second of noise before and after, and the label of each frame: 1, 0 or -1 (unclear)."""
    speech = _recording(file)
    clean = np.pad(speech / np.abs(speech).max() * 0.5, RATE).astype(np.float32)
    frames = len(clean) // FRAME
    clean = clean[: frames * FRAME]
    level = np.sqrt((clean.reshape(frames, FRAME) ** 2).mean(1))
    loud = np.sort(level)[-max(5, frames // 20) :].mean()
    label = np.where(level > loud * 10 ** (SPEECH_DB / 20), 1, np.where(level < loud * 10 ** (SILENCE_DB / 20), 0, -1))
    noise = _noise(len(clean), index)
    power = np.sqrt((clean[RATE:-RATE] ** 2).mean()) * 10 ** (NOISE_DB / 20)
    return (clean + noise / np.sqrt((noise**2).mean()) * power).astype(np.float32), label


def _noise(length: int, index: int) -> Array:
    """White, pink, or mains hum over white, by turns."""
    white = np.random.default_rng(index).standard_normal(length)
    if index % 3 == 1:
        spectrum = np.fft.rfft(white)
        return np.asarray(np.fft.irfft(spectrum / np.sqrt(np.arange(len(spectrum)) + 1), length))
    if index % 3 == 2:
        return np.asarray(0.3 * white + np.sin(2 * np.pi * 50 * np.arange(length) / RATE))
    return white


def _recording(file: Path) -> Array:
    with wave.open(str(file)) as reader:
        rate = reader.getframerate()
        samples = np.frombuffer(reader.readframes(reader.getnframes()), np.int16)
        mono = samples.reshape(-1, reader.getnchannels()).mean(1) / 32768
    return np.asarray(mono if rate == RATE else resample_poly(mono, RATE, rate))


def open_task(folder: Path, cache: Path) -> Silero:
    return Silero(folder)
