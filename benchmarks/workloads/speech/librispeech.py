"""LibriSpeech: utterances and transcripts, and the word error rate."""

from __future__ import annotations

import json
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.workloads.speech.log_mel import RATE
from engines.engine import Array
from graphs.errors import BadInput
from graphs.optional_packages import optional


@dataclass(frozen=True)
class Utterance:
    """A recording and what was said, in lower case."""

    audio: Path
    transcript: str


def read_utterances(folder: Path) -> list[Utterance]:
    """LibriSpeech's own layout (``*.trans.txt`` beside the recordings, at any depth), or MLPerf's manifest (one
    ``*.json`` in the folder: a list of files and transcripts). Raises ``BadInput``.
    """
    manifests = sorted(folder.glob("*.json"))
    found = _from_manifest(manifests[0]) if manifests else _from_transcripts(folder)
    if not found:
        raise BadInput("no utterances", where=str(folder), expected="LibriSpeech's *.trans.txt, or MLPerf's *.json")
    for utterance in found:
        if not utterance.audio.is_file():
            raise BadInput("no such recording", where=str(utterance.audio), fix="a transcript names it")
    return found


def _from_transcripts(folder: Path) -> list[Utterance]:
    found = []
    for path in sorted(folder.rglob("*.trans.txt")):
        for line in path.read_text(encoding="utf-8").splitlines():
            name, _, words = line.partition(" ")
            recordings = sorted(path.parent.glob(f"{name}.*"))
            found.append(Utterance(recordings[0] if recordings else path.parent / f"{name}.flac", words.lower()))
    return found


def _from_manifest(path: Path) -> list[Utterance]:
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        return [Utterance(path.parent / e["files"][0]["fname"], e["transcript"].lower()) for e in entries]
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise BadInput(f"not MLPerf's manifest: {type(error).__name__} {error}", where=str(path)) from None


def read_audio(path: Path) -> Array:
    """float32 in -1..1, one channel, 16 kHz. WAV needs no library, FLAC needs soundfile. Raises ``BadInput``."""
    samples, rate = _read_wav(path) if path.suffix == ".wav" else _read_other(path)
    if rate != RATE or samples.ndim != 1:
        what = f"{rate} Hz" if samples.ndim == 1 else f"{samples.shape[1]} channels"
        raise BadInput(f"has {what}", where=str(path), expected="one channel at 16,000 Hz")
    return samples


def _read_wav(path: Path) -> tuple[Array, int]:
    try:
        with wave.open(str(path)) as file:
            if file.getsampwidth() != 2:
                raise BadInput(f"has {8 * file.getsampwidth()} bits a sample", where=str(path), expected="16 bits")
            samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 32768
            channels, rate = file.getnchannels(), file.getframerate()
    except (wave.Error, EOFError) as error:
        raise BadInput(f"not a WAV file: {error}", where=str(path)) from error
    return samples if channels == 1 else samples.reshape(-1, channels), rate


def _read_other(path: Path) -> tuple[Array, int]:
    soundfile = optional("soundfile", "workloads", f"reading {path.suffix} recordings")
    try:
        samples, rate = soundfile.read(str(path), dtype="float32")
    except RuntimeError as error:
        raise BadInput(f"cannot be read: {error}", where=str(path)) from error
    return np.asarray(samples, np.float32), int(rate)


def word_errors(said: str, heard: str) -> tuple[int, int]:
    """(edits, words said): the least number of words inserted, left out or replaced (Levenshtein)."""
    truth, guess = said.split(), heard.split()
    row = list(range(len(guess) + 1))
    for number, word in enumerate(truth, 1):
        row = _next_row(row, number, word, guess)
    return row[-1], len(truth)


def _next_row(above: Sequence[int], number: int, word: str, guess: Sequence[str]) -> list[int]:
    row = [number]
    for column, other in enumerate(guess, 1):
        row.append(min(row[-1] + 1, above[column] + 1, above[column - 1] + (word != other)))
    return row
