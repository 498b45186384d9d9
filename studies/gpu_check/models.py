"""What is run: the demo's classifier with its data, and two networks of real shape with random weights and inputs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from optimizer.demo import fashion
from optimizer.settings.job import Settings
from studies.builds.networks import NETWORKS

SAMPLES = 96
"""Made-up inputs of each network: as few as range methods still tell apart. Accuracy on them says nothing of a user's
model; it says whether the engine computes what its graph does.
"""


SHAPES = {
    "resnet50": ("input=1x3x224x224:32x3x224x224:128x3x224x224",),
    "bert_base": tuple(f"{name}=1x16:32x128:64x384" for name in ("input_ids", "attention_mask", "token_type_ids")),
}
"""Larger batches than a user gets unasked (8, up to 32): as many as keep a data centre's GPU busy."""


@dataclass(frozen=True)
class Subject:
    """A model, and the settings that name its inputs."""

    name: str
    model: Path
    settings: Settings


def subject(name: str, work: Path, settings: Settings) -> Subject:
    """One of ``NAMES``, under ``settings``; what has to be written goes to ``work``."""
    if name == "demo":
        functions = f"{fashion.__name__}:"
        with_data = replace(settings, data=f"{functions}calibration", eval_data=f"{functions}held_back")
        return Subject(name, fashion.MODEL, replace(with_data, evaluate=f"{functions}top1"))
    network = NETWORKS[name]
    model, data = work / f"{name}.onnx", work / f"{name}.npz"
    if not model.is_file() or not data.is_file():
        work.mkdir(parents=True, exist_ok=True)
        network.save(model, 0)
        np.savez(data, allow_pickle=False, **network.samples(SAMPLES, 0))
    return Subject(name, model, replace(settings, data=data, shapes=SHAPES[name]))


NAMES = ("demo", *NETWORKS)
