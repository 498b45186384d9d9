"""The contract of a graph pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import onnx_ir as ir


@dataclass(frozen=True)
class PassResult:
    """``modified`` counts the places changed; ``notes`` say what a user should know (see ``optimize explain``)."""

    modified: int
    notes: tuple[str, ...] = ()


class GraphPass(Protocol):
    """Changes a model in place. ``name`` is a verb phrase such as ``"fold batch-norm"``."""

    @property
    def name(self) -> str: ...

    def apply(self, model: ir.Model) -> PassResult: ...
