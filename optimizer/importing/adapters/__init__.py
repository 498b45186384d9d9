"""What changed in ONNX's operators between opset 1 and 21, as rewrites of one node each."""

from __future__ import annotations

from optimizer.importing.adapters.catalogue import ADAPTERS, adapt_node
from optimizer.importing.adapters.site import CannotConvert

__all__ = ["ADAPTERS", "CannotConvert", "adapt_node"]
