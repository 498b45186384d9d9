"""Accuracy targets: a metric against shares of the FP32 model's, as verdicts."""

from __future__ import annotations

from dataclasses import dataclass, field

from benchmarks.score import TaskScore
from benchmarks.workloads.workload import Workload


@dataclass(frozen=True)
class TargetVerdict:
    """Whether the metric reaches ``share`` of the FP32 reference, which is ``bound``."""

    share: float
    bound: float
    met: bool


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
    targets = [] if reference is None else [_target(workload, score.value, reference, s) for s in workload.targets]
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


def _target(workload: Workload, value: float, reference: float, share: float) -> TargetVerdict:
    """Of a metric where less is better, the bound lies as far above the reference."""
    bound = reference * share if workload.higher_is_better else reference * (2 - share)
    return TargetVerdict(share, bound, value >= bound if workload.higher_is_better else value <= bound)


def _sentences(
    workload: Workload, score: TaskScore, reference: float | None, targets: list[TargetVerdict], own: bool
) -> list[str]:
    said = [f"{score.metric} {score.value:.5g} on {score.samples:,} samples"]
    if reference is None:
        return [*said, "no FP32 figure to compare with"]
    whose = "the FP32 model" if own else "MLPerf's FP32 model"
    said += [
        f"{'meets' if target.met else 'misses'} {100 * target.share:g} % of {whose} ({reference:.5g}): "
        f"the bound is {target.bound:.5g}"
        for target in targets
    ]
    if not own and workload.dataset_samples is not None and score.samples != workload.dataset_samples:
        said.append(f"not comparable with MLPerf: its dataset has {workload.dataset_samples:,} samples")
    return said
