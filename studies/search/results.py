"""What a run of the study leaves: one JSON per model and per way of asking."""

from __future__ import annotations

from dataclasses import dataclass, field

from benchmarks.report.budget import BudgetSummary, PrecisionSearch


@dataclass(frozen=True)
class Trial:
    """One job. ``labelled``: the metric on one half of the labels was the budget's; else the outputs' own error.

    ``seen_drop`` is the drop of the metric on that half, ``unseen_drop`` on the other, both relative to FP32, of the
    simulated graph for TensorRT; None where the graph was not made. ``calibration_s`` is one calibration, ``job_s`` the
    whole job.
    """

    model: str
    metric: str
    labelled: bool
    max_drop: float
    status: str
    int8_mac_share: float
    budget: BudgetSummary | None
    search: PrecisionSearch | None
    fp32: tuple[float, float]
    seen_drop: float
    unseen_drop: float
    calibration_s: float
    job_s: float
    samples: dict[str, int] = field(default_factory=dict)
    sqnr_db: float = 0.0
