"""``optimize deploy BUNDLE mig``: which model goes on which slice of a GPU, from measured or predicted rates."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks.report.model import read_report
from deployment.mig.plan import Demand, MigPlan, plan_slices
from deployment.mig.scripts import partition_script, serving_script
from engines.manifest import EngineManifest
from engines.targets.mig import MIG_GPUS, MigGpu
from graphs.errors import BadInput
from graphs.files import read_json, to_json, write_together
from optimizer.bundle import REPORT, Bundle

PLAN, PARTITION, SERVE = "plan.json", "partition.sh", "serve.sh"


@dataclass(frozen=True)
class MigRequest:
    """What the command line says: the GPU by its name in ``MIG_GPUS``, how many, the load of the bundle, and others as
    ``BUNDLE=LOAD``."""

    gpu: str = ""
    gpus: int = 1
    load: float = 0.0
    also: tuple[str, ...] = ()


def write_mig_plan(bundle: Bundle, out: Path, name: str, asked: MigRequest) -> list[Path]:
    """Write the plan and its two scripts to ``out``. Raises ``BadInput`` for what does not fit, before writing."""
    gpu = MIG_GPUS.get(asked.gpu)
    if gpu is None:
        what = f"{asked.gpu!r} is no GPU to cut" if asked.gpu else "which GPU is to be cut?"
        raise BadInput(what, where="--mig", expected=f"one of {', '.join(MIG_GPUS)}")
    demands = [_demand(bundle, name, asked.load, gpu), *(_other(text, gpu) for text in asked.also)]
    names = [demand.name for demand in demands]
    if twice := next((each for each in names if names.count(each) > 1), ""):
        raise BadInput(f"two bundles are called {twice!r}", where="--also", fix="rename the folder of one")
    plan = plan_slices(gpu, demands, asked.gpus)
    scripts = {PARTITION: partition_script(plan).encode(), SERVE: serving_script(plan, gpu.target).encode()}
    return write_together(out, {PLAN: to_json(plan), **scripts})


def mig_lines(out: Path) -> list[str]:
    """The plan in ``out``, for a terminal."""
    plan = read_json(out / PLAN, MigPlan)
    lines = [f"{demand.name}: {demand.load:,.0f} samples/s asked; {demand.how}" for demand in plan.demands]
    lines += [
        f"GPU {each.gpu}  {each.profile:8} at {each.start}  {each.model}  predicted {each.rate:,.0f} samples/s"
        for each in plan.slices
    ]
    return lines


def _other(text: str, gpu: MigGpu) -> Demand:
    path, _, load = text.rpartition("=")
    try:
        samples = float(load)
    except ValueError:
        samples = 0.0
    if not path or samples <= 0:
        raise BadInput(f"{text!r} is no bundle with its load", where="--also", expected="BUNDLE=SAMPLES_PER_SECOND")
    bundle = Bundle(Path(path))
    return _demand(bundle, bundle.name, samples, gpu)


def _demand(bundle: Bundle, name: str, load: float, gpu: MigGpu) -> Demand:
    if not load > 0:
        raise BadInput("how many samples per second must it answer?", where="--load", expected="more than 0")
    directory = bundle.engine_directory(gpu.target)
    bundle.check_intact(f"engines/{gpu.target}/*", REPORT)
    manifest = EngineManifest.load(directory)
    found = read_report(bundle.path / REPORT).targets.get(gpu.target)
    if found is not None and found.throughput:
        rate, how = found.throughput, f"measured {found.throughput:,.0f} on a whole {gpu.title}"
    elif found is not None and found.prediction is not None:
        expected = found.prediction
        rate = expected.throughput * (1 - expected.error_percent / 100)
        less = f"less its error of {expected.error_percent:g} %"
        how = f"predicted {expected.throughput:,.0f} on a whole {expected.gpu}, {less}"
    else:
        what = f"the report has no rate on {gpu.target}, measured or predicted"
        raise BadInput(what, where=str(bundle.path), fix=f"run `optimize MODEL.onnx --target {gpu.target}` again")
    memory = manifest.memory
    extra = (memory.activation_bytes, memory.scratch_bytes, memory.device_persistent_bytes)
    size = (memory.weights_bytes or manifest.bytes) + sum(part or 0 for part in extra)
    return Demand(name, str(bundle.path.resolve()), load, rate, size, how)
