"""Trained models that nobody tuned this project for: fetched from packages, fed as their users feed them.

Half of them may be looked at while INT8 is worked on (``TUNING``); the other half (``HELD_OUT``) is only measured, at
the beginning and at the end of such work.
"""

from __future__ import annotations

import hashlib

NAMES = (
    "attacut",
    "basic_pitch",
    "captcha_crnn",
    "centerface",
    "ddddocr",
    "dnsmos",
    "eeg_spindles",
    "lac_words",
    "magika",
    "mtcnn_onet",
    "open_nsfw",
    "paraphrase_minilm_l3",
    "plcmos",
    "ppocr_direction",
    "ppocr_recognition",
    "swift_pitch",
)


def _by_hash(names: tuple[str, ...]) -> list[str]:
    return sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())


TUNING = tuple(_by_hash(NAMES)[: len(NAMES) // 2])
"""The half whose names hash lowest (SHA-256): a rule that was fixed before anything was measured."""
HELD_OUT = tuple(_by_hash(NAMES)[len(NAMES) // 2 :])
