"""A plan is taken apart in a child: what a damaged one does to the library is one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines.errors import EngineError
from engines.tensorrt.runtime import trial


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "was ended by SIGSEGV"),
        ("import time; time.sleep(60)", "hung on the plan"),
    ],
)
def test_a_library_that_crashes_or_hangs_on_a_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, words: str
) -> None:
    (tmp_path / "fake_trial.py").write_text(source)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(trial, "_MODULE", "fake_trial")
    monkeypatch.setattr(trial, "LIMIT_S", 1.0)
    with pytest.raises(EngineError, match=words):
        trial.try_plan("tensorrt_rtx", tmp_path / "engine.plan")
