"""kill -9 at random moments: never a wrong or partial engine. At length: ``python -m studies.builds kills``."""

from __future__ import annotations

from pathlib import Path

from studies.builds.kills import run_kills


def test_builds_killed_at_random_moments_leave_nothing_wrong(rtx: None, tmp_path: Path) -> None:
    report = run_kills(6, seed=4, folder=tmp_path)
    assert report.wrong == []
    assert report.kills == 6
    assert sum(report.killed.values()) >= 3, "most kills must hit a running build"
