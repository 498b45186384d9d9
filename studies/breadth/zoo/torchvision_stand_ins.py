"""torchvision's compiled operators stood in for, where its wheel does not load here: its Python models then import."""

from __future__ import annotations

import sys
import types

import torch


def stand_in() -> None:
    """Declare the operators that torchvision's Python code asks for, unless the real ones load."""
    try:
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError, OSError):
        for name in [name for name in sys.modules if name.startswith("torchvision")]:
            del sys.modules[name]
        sys.modules["torchvision._meta_registrations"] = types.ModuleType("torchvision._meta_registrations")
        _LIBRARY.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _LIBRARY.impl("nms", lambda boxes, scores, _: scores.argsort(descending=True)[:10], "CPU")


_LIBRARY = torch.library.Library("torchvision", "FRAGMENT")
