"""What a report says once, though it was said before."""

from __future__ import annotations

from types import SimpleNamespace

from optimizer.stages.engines.build import BuildOutcome
from optimizer.stages.report.reporting import _said_nowhere_else


def test_why_there_is_no_engine_stands_in_its_row_and_not_among_the_warnings() -> None:
    missing = BuildOutcome("t4", None, None, None, "tensorrt", "no kernel for n")
    built = BuildOutcome("a100", "engines/a100/engine.plan", 1, 1.0, "tensorrt")
    warnings = [missing.warning, "a100: no kernel for n"]
    found = SimpleNamespace(builds={"t4": missing, "a100": built}, warnings=warnings)
    assert _said_nowhere_else(found) == ["a100: no kernel for n"]  # type: ignore[arg-type]
