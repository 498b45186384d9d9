"""What a submission folder is made of, and where its parts lie.

The layout is that of rounds v1.0 to v4.1 (MLCommons, Inference submission rules): ``DIVISION/SUBMITTER/`` with
``systems``, ``code``, ``measurements``, ``results`` and ``compliance``. Later rounds moved the same files below
``results``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.loadgen.settings import SCENARIO_NAMES, Scenario
from benchmarks.score import Evaluate

IMPLEMENTATION = "enginewright"
UNVERIFIED = "Unverified: not reviewed by MLCommons. These numbers are not MLPerf results and must not be called so."


@dataclass(frozen=True)
class SubmissionRequest:
    """One engine, one task, some scenarios.

    ``engine`` is an engine folder; ``evaluate`` the task metric, whose own samples are what LoadGen sends;
    ``reference`` the FP32 metric that the accuracy target (``target_share`` of it) is taken from, None where unknown.
    ``duration_s`` is the least length of a run. ``task`` names the folder of the benchmark; ``official`` uses LoadGen's
    compiled-in settings of that name (600 s).
    """

    engine: Path
    evaluate: str | Evaluate
    out: Path
    task: str
    scenarios: tuple[Scenario, ...] = (Scenario.OFFLINE, Scenario.SINGLE_STREAM)
    tests: tuple[str, ...] = ("TEST01", "TEST04")
    division: str = "open"
    submitter: str = "unverified"
    system: str = ""
    system_type: str = "edge"
    duration_s: float = 10.0
    latency_bound_ms: float = 100.0
    target_qps: float | None = None
    reference: float | None = None
    target_share: float = 0.99
    official: str = ""
    weights: Weights | None = None
    calibration: dict[str, str] = field(default_factory=dict)
    say: Callable[[str], None] = lambda _: None


@dataclass(frozen=True)
class Weights:
    """What the measurements file must tell of the weights: where they started and what was done to them."""

    filename: str
    input_types: str
    weight_types: str
    transformations: str
    retraining: str = "no"


@dataclass(frozen=True)
class Places:
    """The folders of one scenario."""

    root: Path
    system: str
    task: str
    scenario: Scenario

    @property
    def tail(self) -> Path:
        return Path(self.system, self.task, SCENARIO_NAMES[self.scenario])

    @property
    def accuracy(self) -> Path:
        return self.root / "results" / self.tail / "accuracy"

    @property
    def performance(self) -> Path:
        return self.root / "results" / self.tail / "performance" / "run_1"

    @property
    def measurements(self) -> Path:
        return self.root / "measurements" / self.tail

    def compliance(self, test: str) -> Path:
        return self.root / "compliance" / self.tail / test
