"""MLPerf's closed and open division: which rule puts a model or a run out of the closed one, by name.

After the MLPerf Inference rules (mlcommons/inference_policies, inference_rules.adoc): closed allows post-training
quantization with the official calibration set only, no retraining and no pruning of non-zero weights, a model
equivalent to the reference, and LoadGen's official settings. Open allows any model and method, said as such.
What cannot be seen from here (is the model equivalent to the reference?) is listed as unchecked, never assumed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from benchmarks.loadgen.settings import LoadgenSettings
from benchmarks.workloads.workload import Workload


@dataclass(frozen=True)
class ModelFacts:
    """How an engine came about. ``sparsity`` is ``"none"`` or a pattern whose zeros were made by changing weights;
    ``calibrated_on`` names the calibration data ("" where nothing was calibrated); ``data_free`` tells that ranges came
    from random inputs; ``retrained`` that weights were trained after the reference.
    """

    sparsity: str = "none"
    calibrated_on: str = ""
    data_free: bool = False
    retrained: bool = False


@dataclass(frozen=True)
class Division:
    """``name`` is ``"open"`` where a rule of the closed division is broken, ``"closed, unverified"`` where none is seen
    to be, ``"none: …"`` for a task that is not MLPerf's. ``reasons`` name the broken rules, ``unchecked`` what a
    reviewer must look at, ``unofficial`` why the run itself could be submitted to neither.
    """

    name: str
    reasons: list[str] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)
    unofficial: list[str] = field(default_factory=list)


def check_division(
    workload: Workload, model: ModelFacts, settings: LoadgenSettings, samples: int | None = None
) -> Division:
    """``samples`` is how many the dataset at hand has (None: not known)."""
    reasons = _model_reasons(model)
    own = not workload.rounds
    return Division(
        name="none: a task of your own" if own else "open" if reasons else "closed, unverified",
        reasons=reasons,
        unchecked=_unchecked(workload, model),
        unofficial=_unofficial(workload, settings, samples),
    )


def _model_reasons(model: ModelFacts) -> list[str]:
    reasons = []
    if model.sparsity != "none":
        reasons.append(
            f"open: sparsity with weight update ({model.sparsity}): closed forbids discarding non-zero weights"
        )
    if model.retrained:
        reasons.append("open: retraining: closed allows none")
    if model.data_free:
        reasons.append("open: calibrated on random inputs: closed calibrates on the official calibration set")
    return reasons


def _unchecked(workload: Workload, model: ModelFacts) -> list[str]:
    checks = [f"whether the model is equivalent to MLPerf's {workload.name}"]
    if model.calibrated_on:
        checks.append(f"whether {model.calibrated_on} is the official calibration set")
    return checks


def _unofficial(workload: Workload, settings: LoadgenSettings, samples: int | None) -> list[str]:
    found = []
    if not workload.rounds:
        found.append(f"{workload.name} is not a task of MLPerf Inference")
    if not settings.official:
        found.append("short settings: official runs take 600 s with LoadGen's own configuration (--mlperf)")
    if settings.shortened:
        found.append(f"shortened to {settings.duration_s:g} s: official runs take 600 s")
    if workload.server_latency_ms is not None and settings.latency_bound_ms > workload.server_latency_ms:
        found.append(
            f"a Server bound of {settings.latency_bound_ms:g} ms: the official is {workload.server_latency_ms:g}"
        )
    if samples is not None and workload.dataset_samples is not None and samples != workload.dataset_samples:
        found.append(f"{samples:,} samples: the official dataset has {workload.dataset_samples:,}")
    return found
