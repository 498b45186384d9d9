"""Signals made here where no package is known to hold recorded ones: said so on the page."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from types import ModuleType

import numpy as np

from engines.engine import Array, Feed
from studies.baselines.packages import Packages, one

MUSIC_RATE, MUSIC_LENGTH = 22050, 43844
EEG_RATE, EEG_LENGTH = 250, 7500


def plucked(packages: Packages, count: int, calibration: bool) -> Iterator[Feed]:
    """Two seconds of strings plucked at random, as decaying harmonics with a little noise."""
    rng = np.random.default_rng(6 if calibration else 7)
    time = np.arange(MUSIC_LENGTH) / MUSIC_RATE
    for _ in range(count):
        audio = 0.003 * rng.standard_normal(MUSIC_LENGTH)
        for _ in range(rng.integers(1, 6)):
            pitch, start = 440 * 2 ** ((rng.integers(36, 84) - 69) / 12), rng.uniform(-0.5, 1.6)
            since = np.maximum(time - start, 0)
            harmonics = range(1, min(12, int(MUSIC_RATE / 2 / pitch)) + 1)
            tone = sum(np.sin(2 * np.pi * h * pitch * since) * np.exp(-since * h) / h for h in harmonics)
            audio += rng.uniform(0.05, 0.3) * tone * (time > start)
        yield {"serving_default_input_2:0": audio.astype(np.float32)[None, :, None]}


def sleep(packages: Packages, count: int, calibration: bool) -> Iterator[Feed]:
    """Thirty seconds of 1/f noise with a few spindles, and their scalogram as the package makes it."""
    rng = np.random.default_rng(8 if calibration else 9)
    made = _scalogram_of(packages)
    time = np.arange(EEG_LENGTH) / EEG_RATE
    for _ in range(count):
        spectrum = np.fft.rfft(rng.standard_normal(EEG_LENGTH)) / np.sqrt(np.arange(EEG_LENGTH // 2 + 1) + 3)
        raw = np.fft.irfft(spectrum, EEG_LENGTH)
        raw /= raw.std()
        for _ in range(rng.integers(0, 7)):
            centre, width, pitch = rng.uniform(1, 29), rng.uniform(0.2, 0.6), rng.uniform(11, 16)
            envelope = np.exp(-(((time - centre) / width) ** 2))
            raw += rng.uniform(0.5, 2.0) * envelope * np.sin(2 * np.pi * pitch * time + rng.uniform(0, 6))
        spectrogram = _standard(made.scalogram((raw - raw.mean())[None])[0])
        yield {
            "raw_signal": _standard(raw)[None, None].astype(np.float32),
            "spectrogram": spectrogram[None].astype(np.float32),
        }


def _scalogram_of(packages: Packages) -> ModuleType:
    """The package's module that makes scalograms, which needs numpy and scipy only."""
    file = one(packages.pypi("brainmaze-eeg-models==0.1.0"), "_cwt.py")
    spec = importlib.util.spec_from_file_location("brainmaze_cwt", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _standard(values: Array) -> Array:
    return np.asarray((values - values.mean(-1, keepdims=True)) / values.std(-1, keepdims=True))
