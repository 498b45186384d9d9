"""Workloads by name, each module loaded only when asked for; and users' own by ``file.py``."""

from __future__ import annotations

import importlib
from pathlib import Path

from benchmarks.workloads.workload import Workload
from engines.user_code import load_module
from graphs.errors import BadInput

NAMES = {
    "resnet50": "images.classification:RESNET50",
    "mobilenet": "images.classification:MOBILENET",
    "ssd-mobilenet": "images.detection:SSD_MOBILENET",
    "ssd-resnet34": "images.detection:SSD_RESNET34",
    "retinanet": "images.detection:RETINANET",
    "bert": "language.bert:BERT",
    "rnnt": "speech.rnnt:RNNT",
    "3d-unet": "volumes.kits19:UNET3D",
    "3d-unet-brats": "volumes.brats:UNET3D_BRATS",
    "dlrm": "recommendation.dlrm:DLRM",
    "gnmt": "language.gnmt:GNMT",
}
OWN = "WORKLOAD"


def find_workload(name: str) -> Workload:
    """The workload of that name, or of ``file.py`` (its ``WORKLOAD``) or ``file.py:NAME``. Raises ``BadInput``."""
    if name in NAMES:
        module, _, attribute = NAMES[name].partition(":")
        found = getattr(importlib.import_module(f"benchmarks.workloads.{module}"), attribute)
        assert isinstance(found, Workload)
        return found
    if name.endswith(".py") or ".py:" in Path(name).name:
        return _own(name)
    raise BadInput(
        f"no workload {name!r}", where="--workload", expected=f"one of {', '.join(NAMES)}, or file.py with a {OWN}"
    )


def _own(name: str) -> Workload:
    place, _, attribute = name.rpartition(":") if ".py:" in Path(name).name else (name, "", OWN)
    found = getattr(load_module(place), attribute, None)
    if not isinstance(found, Workload):
        what = f"has no {attribute!r}" if found is None else f"{attribute!r} is a {type(found).__name__}"
        raise BadInput(what, where=place, expected=f"{attribute} = Workload(...)", fix="see docs/loadgen.md")
    return found
