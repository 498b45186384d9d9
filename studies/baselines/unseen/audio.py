"""Recorded speech as speech models are fed: telephone prompts of a Debian package, alternate files held back."""

from __future__ import annotations

import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from engines.engine import Array, Feed
from studies.baselines.packages import Packages, one

RATE = 16000  # hertz, what the models are trained on
SHORTEST = 30_000
"""Bytes of the shortest recording taken: about two seconds."""
MOST_FILES = 160  # prompts; more take longer to read and say the same


def one_second(packages: Packages, count: int, calibration: bool) -> Iterator[Feed]:
    """A second of speech at a random place and level, between the pitches that swift-f0 looks for by default."""
    rng = np.random.default_rng(0 if calibration else 1)
    files = recordings(packages, calibration)
    for k in range(count):
        audio = _excerpt(_read(files[k % len(files)]), RATE, rng)
        low, high = np.float32(46.875), np.float32(2093.75)
        yield {"audio": audio[None], "fmin": np.asarray(low), "fmax": np.asarray(high)}


def nine_seconds(packages: Packages, count: int, calibration: bool) -> Iterator[Feed]:
    """Recordings in a row to 9.01 s with noise at a random distance."""
    rng = np.random.default_rng(2 if calibration else 3)
    files = recordings(packages, calibration)
    for k in range(count):
        audio = np.concatenate([_read(files[(5 * k + i) % len(files)]) for i in range(5)])
        audio = _excerpt(audio, 144160, rng)
        noise = rng.standard_normal(len(audio)).astype(np.float32) * np.sqrt(np.square(audio).mean())
        yield {"input_1": (audio + noise * 10 ** (-rng.uniform(0, 40) / 20)).astype(np.float32)[None]}


def with_lost_packets(packages: Packages, count: int, calibration: bool) -> Iterator[Feed]:
    """Log spectra of two seconds as speechmos makes them, up to a fifth of the 20 ms packets missing."""
    rng = np.random.default_rng(4 if calibration else 5)
    files = recordings(packages, calibration)
    for k in range(count):
        packet = RATE // 50
        sent = _excerpt(_read(files[k % len(files)]), 2 * RATE, rng).reshape(-1, packet)
        audio = (sent * (rng.random((len(sent), 1)) > rng.uniform(0, 0.2))).ravel()
        embedding = rng.standard_normal((1, 64)).astype(np.float32)
        yield {"degraded_audio": _log_power(audio)[None, None], "rater_embed": embedding}


def recordings(packages: Packages, calibration: bool) -> list[Path]:
    """Prompts long enough to say something; even ones calibrate, odd ones are held back."""
    folder = one(packages.debian("asterisk-core-sounds-en-wav"), "activated.wav").parent
    spoken = (file for file in sorted(folder.rglob("*.wav")) if file.parent.name != "silence")
    long = [file for file in spoken if file.stat().st_size >= SHORTEST][:MOST_FILES]
    return long[0 if calibration else 1 :: 2]


def _read(file: Path) -> Array:
    from scipy.signal import resample_poly  # a second, of everything that lists the models

    with wave.open(str(file)) as reader:
        rate = reader.getframerate()
        samples = np.frombuffer(reader.readframes(reader.getnframes()), np.int16)
        mono = samples.reshape(-1, reader.getnchannels()).mean(1) / 32768
    return np.asarray(mono if rate == RATE else resample_poly(mono, RATE, rate), np.float32)


def _excerpt(audio: Array, length: int, rng: np.random.Generator) -> Array:
    """``length`` samples (zeros behind a shorter recording) at a peak between 0.1 and 0.9."""
    audio = np.pad(audio, (0, max(length - len(audio), 0)))
    start = int(rng.integers(0, len(audio) - length + 1))
    part = audio[start : start + length]
    return np.asarray(part / max(np.abs(part).max(), 1e-3) * rng.uniform(0.1, 0.9), np.float32)


def _log_power(audio: Array, size: int = 512) -> Array:
    """[frames, 257]: ``ln |X|² / 20`` of half-overlapping Hamming windows; silence at 12 dB below the least."""
    hop = size // 2
    padded = np.pad(audio, (hop, hop + (-len(audio)) % hop))
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop] * np.hamming(size + 1)[:-1]
    power = np.square(np.abs(np.fft.rfft(frames)))
    live = power > 0
    floor = np.log(power[live].min()) - 12 * np.log(10)
    return np.asarray(np.where(live, np.log(np.where(live, power, 1)), floor) / 20, np.float32)
