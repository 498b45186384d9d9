"""The models of the comparison, and the unseen ones, half of which may be looked at while INT8 is worked on."""

from __future__ import annotations

import hashlib

MODELS = (
    "mobilenet_v2",
    "fashion_resnet14",
    "minilm",
    "yolov3_tiny",
    "dlrm_movielens",
    "silero_vad",
    "deepbrain_unet3d",
)
UNSEEN = (
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
"""Trained models that nobody tuned this project for."""


def _by_hash(names: tuple[str, ...]) -> list[str]:
    return sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())


TUNING = tuple(_by_hash(UNSEEN)[: len(UNSEEN) // 2])
"""The half whose names hash lowest (SHA-256): a rule that was fixed before anything was measured."""
HELD_OUT = tuple(_by_hash(UNSEEN)[len(UNSEEN) // 2 :])
"""The other half, which is only measured, at the beginning and at the end of such work."""
