"""What a running build tells its caller."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from engines.cache.history import Estimate


@dataclass(frozen=True)
class BuildProgress:
    """Sent at every step and a few times a second in between, because one compile step may take minutes.

    ``done`` of ``total`` steps of ``stage``; ``total`` is None where the builder does not say. ``estimate`` is what
    earlier builds took, None where there were none.
    """

    stage: str
    elapsed_s: float
    done: int = 0
    total: int | None = None
    estimate: Estimate | None = None


OnProgress: TypeAlias = Callable[[BuildProgress], None]
