"""The CPU engine: INT8 where it is both faster and accurate enough, measured; FP32 otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.batching import repeat_to_batch
from benchmarks.latency import measure_latency, measure_throughput
from benchmarks.measurement import Latency, Throughput
from benchmarks.op_times import OpTime, profile_ops
from engines.engine import Feed
from engines.onnxruntime_engine import OnnxRuntimeEngine
from engines.profile import ShapeProfile
from optimizer.stages.proof import Proof

LEAST_GAIN = 1.02
SECONDS = 1.0
PROFILE_MS, PROFILED_RUNS = 2000.0, 20
LONGEST_BATCH_MS = 250.0
"""A batch that takes longer is not tried: slow models gain nothing from one and would measure for minutes."""


@dataclass(frozen=True)
class CpuChoice:
    """Which form the CPU engine ships in and what both measured in the same, interleaved run.

    ``form`` is ``"int8"`` or ``"fp32"``; ``speedup`` the throughput of the shipped form over FP32's; ``op_times`` where
    the shipped form spends one inference.
    """

    form: str
    why: str
    batch: int
    latency: dict[str, Latency]
    throughput: dict[str, Throughput]
    op_times: list[OpTime]

    @property
    def speedup(self) -> float:
        return self.throughput[self.form].samples_per_s / self.throughput["fp32"].samples_per_s


def choose_cpu_form(forms: Mapping[str, Path], proof: Proof | None, feed: Feed, profile: ShapeProfile) -> CpuChoice:
    """Measure FP32 and (where there is one) INT8, interleaved; keep the faster one that is within the budget."""
    engines = {name: OnnxRuntimeEngine(path) for name, path in forms.items()}
    try:
        latency = measure_latency(engines, feed, seconds=SECONDS)
        many = repeat_to_batch(engines["fp32"].inputs, feed, _batch(profile, latency["fp32"]))
        throughput = measure_throughput(engines, many, seconds=SECONDS) if many else _one_by_one(latency)
        batch = throughput["fp32"].batch
    finally:
        for engine in engines.values():
            engine.close()
    form, why = _decide(throughput, proof)
    runs = min(max(int(PROFILE_MS / latency[form].p50), 1), PROFILED_RUNS)
    return CpuChoice(form, why, batch, latency, throughput, profile_ops(forms[form], feed, runs=runs))


def _batch(profile: ShapeProfile, fp32: Latency) -> int:
    """The profile's usual batch, or one for a model so slow that a batch would take too long."""
    usual = max((shapes.opt[0] for shapes in profile.inputs.values() if shapes.opt), default=1)
    return usual if usual * fp32.p50 <= LONGEST_BATCH_MS else 1


def _one_by_one(latency: Mapping[str, Latency]) -> dict[str, Throughput]:
    return {name: Throughput(1e3 / found.p50, 1, found.n, found.cv) for name, found in latency.items()}


def _decide(throughput: Mapping[str, Throughput], proof: Proof | None) -> tuple[str, str]:
    if "int8" not in throughput:
        return "fp32", "no INT8 form was made"
    gain = throughput["int8"].samples_per_s / throughput["fp32"].samples_per_s
    if proof is not None and not proof.ok:
        return "fp32", f"INT8 for this CPU is over the accuracy budget: {'; '.join(proof.reasons)}"
    if gain < LEAST_GAIN:
        return "fp32", f"INT8 ran at {gain:.2f}x of FP32 on this CPU"
    return "int8", f"INT8 ran at {gain:.2f}x of FP32 on this CPU"
