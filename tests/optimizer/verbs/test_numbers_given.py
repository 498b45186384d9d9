"""Numbers that make no sense are refused before a model is opened, by every verb in the same words."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.plaster.measure import StudySettings
from deployment.serving.limits import Limits
from graphs.errors import BadInput
from optimizer.settings.job import Settings
from optimizer.verbs.bench.run import BenchSettings
from optimizer.verbs.plaster import plaster_study
from optimizer.verbs.submission import SubmissionOptions, make_submission
from optimizer.verbs.together import bench_together

NONE = Path("no such place")


def study(**options: float) -> None:
    plaster_study(NONE, Settings(), StudySettings(**options), NONE)  # type: ignore[arg-type]


def submit(**options: object) -> None:
    make_submission(NONE, NONE, SubmissionOptions("score.py:f", **options))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: study(batch=0), "--batch: 0 is too little"),
        (lambda: study(seconds=0.0), "--seconds: 0 is too little"),
        (lambda: study(seconds=math.nan), "--seconds: nan is no number"),
        (lambda: study(duration=math.inf), "--duration: inf is no number"),
        (lambda: Limits(client_seconds=math.nan), "--client-timeout"),
        (lambda: study(bound_ms=-5.0), "--bound: -5 is too little"),
        (lambda: study(duration=-1.0), "--duration: -1 is negative"),
        (lambda: submit(duration=0.0), "--duration: 0 is too little"),
        (lambda: submit(qps=0.0), "--qps: 0 is too little"),
        (lambda: submit(server_latency_ms=-1.0), "--server-latency: -1 is too little"),
        (lambda: submit(system_type="laptop"), "--system-type: unknown type 'laptop'"),
        (lambda: BenchSettings(max_wait_ms=-1.0), "--max-wait: -1 is negative"),
        (lambda: BenchSettings(max_batch=0), "--max-batch: 0 is too little"),
        (lambda: bench_together([NONE], copies=0), "--copies: 0 is too little"),
        (lambda: bench_together([NONE, NONE], seconds=0.0), "--seconds: 0 is too little"),
    ],
)
def test_it_is_refused(call: Callable[[], object], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        call()
