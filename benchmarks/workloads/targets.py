"""Accuracy targets: a metric against shares of the FP32 model's, as verdicts."""

from __future__ import annotations

from dataclasses import dataclass, field

from benchmarks.score import TaskScore
from benchmarks.workloads.workload import Workload


@dataclass(frozen=True)
class TargetVerdict:
    """Whether the metric reaches ``share`` of the FP32 reference, which is ``bound``; ``sentence`` says it in words."""

    share: float
    bound: float
    met: bool
    sentence: str


@dataclass(frozen=True)
class AccuracyVerdict:
    """The metric, what it is compared with, and what came out.

    ``reference`` is MLPerf's published FP32 figure for its own model, or the FP32 model's own where ``own_fp32``;
    ``complete`` tells that every sample of the official dataset was run. ``sentences`` say it all in words.
    """

    metric: str
    value: float
    samples: int
    reference: float | None = None
    own_fp32: bool = False
    targets: list[TargetVerdict] = field(default_factory=list)
    complete: bool = False
    details: dict[str, float] = field(default_factory=dict)
    sentences: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether the lowest target is met; true where there is nothing to compare with."""
        return not self.targets or self.targets[0].met


def judge_accuracy(workload: Workload, score: TaskScore, fp32: float | None = None) -> AccuracyVerdict:
    """``fp32`` is the FP32 model's own metric on the same samples, which then takes the place of MLPerf's figure."""
    reference = workload.reference if fp32 is None else fp32
    whose = "MLPerf's FP32 model" if fp32 is None else "the FP32 model"
    shares = () if reference is None else workload.targets
    targets = [_target(workload, score.value, reference or 0.0, share, whose) for share in shares]
    complete = workload.dataset_samples is not None and score.samples == workload.dataset_samples
    return AccuracyVerdict(
        metric=score.metric,
        value=score.value,
        samples=score.samples,
        reference=reference,
        own_fp32=fp32 is not None,
        targets=targets,
        complete=complete,
        details=score.details,
        sentences=_sentences(workload, score, reference, targets, fp32 is not None),
    )


def _target(workload: Workload, value: float, reference: float, share: float, whose: str) -> TargetVerdict:
    """Of a metric where less is better, the bound lies as far above the reference."""
    bound = reference * share if workload.higher_is_better else reference * (2 - share)
    met = value >= bound if workload.higher_is_better else value <= bound
    reached = f"{'meets' if met else 'misses'} {100 * share:g} % of {whose} ({reference:.5g})"
    return TargetVerdict(share, bound, met, f"{reached}: the bound is {bound:.5g}")


def _sentences(
    workload: Workload, score: TaskScore, reference: float | None, targets: list[TargetVerdict], own: bool
) -> list[str]:
    said = [f"{score.metric} {score.value:.5g} on {score.samples:,} samples"]
    if reference is None:
        return [*said, "no FP32 figure to compare with"]
    said += [target.sentence for target in targets]
    if not own and workload.dataset_samples is not None and score.samples != workload.dataset_samples:
        said.append(f"not comparable with MLPerf: its dataset has {workload.dataset_samples:,} samples")
    return said
