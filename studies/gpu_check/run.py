"""Every model through every way this machine has to run it on its GPU, beside what the roofline model predicted."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from benchmarks.energy.counters import NvmlCounter
from benchmarks.roofline.fusion import kernels
from benchmarks.roofline.prediction import Prediction, predict
from benchmarks.samples.library import save_samples
from engines.engine import Engine, Feed, batchable
from engines.onnxruntime.engine import OnnxRuntimeEngine
from engines.profile import infer_profile
from engines.targets.gpus_here import Gpu, target_of
from engines.targets.target import rates_of_board
from graphs.digests import sha256_file
from studies.gpu_check.candidates import Job, candidates
from studies.gpu_check.check import CheckSettings, Data, check
from studies.gpu_check.feeds import load_feeds
from studies.gpu_check.page import ModelResult


@dataclass(frozen=True)
class Plan:
    """What to check: ``models`` against ``reference`` on ``inputs`` (``.npz``, ``file.py:function``, None: random)."""

    models: Sequence[Path]
    reference: Path
    inputs: str | None
    settings: CheckSettings
    slots: int = 2
    cuda_runtime: str = "cuda-python"


def check_models(plan: Plan, gpu: Gpu, say: Callable[[str], None]) -> tuple[list[ModelResult], str]:
    """A result per model, and why there is no energy (empty where there is)."""
    energy = NvmlCounter(gpu.index)
    try:
        with tempfile.TemporaryDirectory(prefix="gpu-check-") as work, OnnxRuntimeEngine(plan.reference) as reference:
            feeds = load_feeds(reference.inputs, plan.inputs)
            samples = save_samples(feeds, reference.inputs, Path(work) / "samples")
            data = Data(reference, feeds, samples, Path(work) / "loadgen")
            return [_check(plan, gpu, model, data, Path(work), energy, say) for model in plan.models], energy.reason
    finally:
        energy.close()


def _check(
    plan: Plan, gpu: Gpu, model: Path, data: Data, work: Path, energy: NvmlCounter, say: Callable[[str], None]
) -> ModelResult:
    digest = sha256_file(model)
    own = work / digest[:16]
    own.mkdir(exist_ok=True)
    say(f"{model}:")
    specs, feeds = data.reference.inputs, data.feeds
    observed = {spec.name: [feed[spec.name].shape for feed in feeds] for spec in specs}
    profile = infer_profile(specs, observed, {}, max_batch=max(plan.settings.batches))
    job = Job(model, profile, target_of(gpu), own, plan.slots, plan.cuda_runtime)
    inside = Data(data.reference, feeds, data.samples, data.logs / digest[:16])
    ways = [check(way, inside, plan.settings, energy, say) for way in candidates(job)]
    batch = max(plan.settings.batches)
    return ModelResult(str(model), digest, ways, predicted(model, gpu, data.reference, feeds[0], batch))


def predicted(model: Path, gpu: Gpu, reference: Engine, feed: Feed, batch: int) -> Prediction | None:
    """What the roofline model expects of this board, to stand beside the measurement; None for an unlisted board."""
    rates = rates_of_board(gpu.name, gpu.compute_capability)
    if rates is None:
        return None
    found = kernels(ir.load(model), {name: array.shape for name, array in feed.items()})
    return predict(found, rates, batch if batchable(reference.inputs) else 1)
