"""What a run leaves in the hands of a Python caller."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.report.model import Report
    from engines.engine import Engine

EXIT_CODES = {"ok": 0, "invalid": 1, "over_budget": 3, "partial": 4}
"""By the report's status; 2 is bad input, which leaves no report."""


@dataclass(frozen=True)
class Result:
    """The report, and the bundle's folder."""

    report: Report
    bundle: Path

    def engine(
        self,
        target: str = "cpu",
        *,
        cuda_runtime: str | None = None,
        shapes: Mapping[str, tuple[int, ...]] | None = None,
    ) -> Engine:
        """Open the engine of one target; a context manager. Raises ``EngineError`` where it cannot run here.

        ``cuda_runtime`` is ``"cuda-python"`` or ``"pycuda"``; ``shapes`` are input shapes it must be able to run.
        """
        from engines.open import open_engine
        from optimizer.bundle import Bundle

        return open_engine(Bundle(self.bundle).engine_directory(target), cuda_runtime=cuda_runtime, shapes=shapes)
