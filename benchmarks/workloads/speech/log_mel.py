"""Log-mel features as MLPerf's RNN-T takes them (mlcommons/inference, speech_recognition/rnnt, parts/features.py).

16 kHz, windows of 20 ms every 10 ms, 80 mel bands, three frames joined to one of 240 values, each value normalised over
the utterance.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from engines.engine import Array

RATE = 16_000
"""Samples per second. This and the next two are the reference's configuration."""
WINDOW, HOP, FFT = 320, 160, 512
"""In samples: 20 ms, 10 ms, and the length of the transform."""
BANDS, SPLICE = 80, 3
"""Mel bands, and frames joined to one."""
PREEMPHASIS, DITHER = 0.97, 1e-5
"""Both of the reference's configuration; the dither is what it adds as noise, here its power."""


def features(samples: Array) -> Array:
    """float32 [frames, 240] of a waveform in -1..1 at 16 kHz."""
    emphasised = np.concatenate([samples[:1], samples[1:] - PREEMPHASIS * samples[:-1]])
    power = _power(emphasised.astype(np.float64)) + DITHER**2
    log_mel = np.log(mel_filters() @ power + 1e-20)
    spliced = _spliced(log_mel)
    frames = math.ceil(math.ceil(len(samples) / HOP) / SPLICE)
    spliced = spliced[:, :frames]
    deviation = spliced.std(1, ddof=1, keepdims=True) if frames > 1 else np.zeros((len(spliced), 1))
    normalised = (spliced - spliced.mean(1, keepdims=True)) / (deviation + 1e-5)
    return np.asarray(normalised.T, np.float32)


def _power(samples: Array) -> Array:
    """Power spectrum [257, frames]: windows centred at every hop, the signal mirrored at its ends."""
    padded = np.pad(samples, FFT // 2, mode="reflect" if len(samples) > FFT // 2 else "edge")
    starts = np.arange(0, len(padded) - FFT + 1, HOP)
    frames = padded[starts[:, None] + np.arange(FFT)]
    window = np.zeros(FFT)
    left = (FFT - WINDOW) // 2
    window[left : left + WINDOW] = np.hanning(WINDOW)
    return np.asarray(np.abs(np.fft.rfft(frames * window)) ** 2).T


def _spliced(bands: Array) -> Array:
    """[80, frames] -> [240, frames / 3 rounded up]: each frame with the two that follow it, zeros after the end."""
    shifted = [np.pad(bands[:, n:], ((0, 0), (0, n))) for n in range(SPLICE)]
    return np.concatenate(shifted)[:, ::SPLICE]


@cache
def mel_filters() -> Array:
    """Triangular filters [80, 257] of Slaney's Auditory Toolbox, each of unit area (librosa's default)."""
    frequencies = np.linspace(0, RATE / 2, FFT // 2 + 1)
    edges = _hertz(np.linspace(_mel(0.0), _mel(RATE / 2), BANDS + 2))
    ramps = edges[:, None] - frequencies
    widths = np.diff(edges)
    rising = -ramps[:-2] / widths[:-1, None]
    falling = ramps[2:] / widths[1:, None]
    triangles = np.maximum(0, np.minimum(rising, falling))
    return np.asarray(triangles * (2.0 / (edges[2:] - edges[:-2]))[:, None])


_BREAK_HERTZ, _PER_MEL, _LOG_STEP = 1000.0, 200.0 / 3, np.log(6.4) / 27.0
"""Slaney's scale: linear up to the break, in hertz per mel; above, the logarithm of the ratio of two mels."""


def _mel(hertz: float) -> float:
    if hertz < _BREAK_HERTZ:
        return hertz / _PER_MEL
    return float(_BREAK_HERTZ / _PER_MEL + np.log(hertz / _BREAK_HERTZ) / _LOG_STEP)


def _hertz(mels: Array) -> Array:
    above = _BREAK_HERTZ * np.exp(_LOG_STEP * (mels - _BREAK_HERTZ / _PER_MEL))
    return np.where(mels < _BREAK_HERTZ / _PER_MEL, mels * _PER_MEL, above)
