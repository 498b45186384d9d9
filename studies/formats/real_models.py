"""FP8 and INT8 on real models by their own metric, simulated; and plans of FP8 graphs for Ada and Blackwell."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from benchmarks.accuracy.compare import compare
from engines.build import BuildRequest, build_engine
from engines.engine import Feed, batchable
from engines.errors import BuildError
from engines.onnxruntime.engine import OnnxRuntimeEngine
from engines.profile import ShapeProfile, ShapeRange
from engines.targets.formats import refusal
from engines.targets.target import TARGETS
from graphs.reading.macs import count_macs
from graphs.storage.saving import save_model
from graphs.tensorrt.lint import lint
from optimizer.importing import import_model
from optimizer.passes.clean import clean
from optimizer.quantization.corrections.fallback import Allowance
from optimizer.quantization.observing.calibrating import Calibrator
from optimizer.quantization.quantize import prepare
from optimizer.quantization.settings import QuantizeSettings
from optimizer.settings.options import Precision
from optimizer.simulation.run import simulated
from optimizer.stages.data.inputs import model_inputs
from optimizer.stages.forms.budget import BETTER, RETRIES
from optimizer.stages.forms.calibrated import AUTO_METHODS
from optimizer.typed.graph import GraphTyper
from optimizer.typed.schemes import tensorrt_scheme
from studies.baselines.task import Task, joined

BUILT_FOR = ("l4", "blackwell")
"""SM89 and SM120: what TensorRT-RTX builds ahead of time of the GPUs that have FP8."""

AGREES = 0.997
"""Decisions on calibration samples that are to be FP32's: 0.3 points may be lost."""
MOST = (None, *RETRIES)
"""What part of the work may stay in FP16 for the error it causes: the default's, then as the command's loop has it."""
DECIDES = frozenset({"mobilenet_v2"})
"""Models whose output's largest value is a decision, so that a budget of decisions says something."""


@dataclass(frozen=True)
class Row:
    """``plans``: target -> bytes, or why there is none. ``quantized`` is the share of MACs planned in the format."""

    model: str
    precision: str
    metric: str
    fp32: float
    value: float
    sqnr_db: float | None
    quantized: float
    findings: int
    plans: dict[str, str]


def judge(name: str, source: Path, task: Task, precision: Precision, folder: Path, quick: bool) -> Row:
    """Type ``source`` in ``precision`` as the command does, with a budget of its own; score it, lint it, build it."""
    path, share = _typed(source, task, precision, folder, quick)
    feeds = task.held_back(quick)
    with ExitStack() as stack:
        fp32 = stack.enter_context(OnnxRuntimeEngine(source))
        engine = stack.enter_context(simulated(path))
        found = compare(fp32, {"typed": engine}, feeds)["typed"].outputs[task.output]
        reference, value = (task.score(infer, fp32.infer, quick) for infer in (fp32.infer, engine.infer))
    plans = {target: _plan(path, feeds[0], precision.value, target, folder) for target in BUILT_FOR}
    findings = len(lint(ir.load(path)))
    return Row(name, precision.value, task.metric, reference, value, found.sqnr_db, share, findings, plans)


def _typed(source: Path, task: Task, precision: Precision, folder: Path, quick: bool) -> tuple[Path, float]:
    """The first of ``MOST`` whose graph decides ``AGREES`` of calibration samples as FP32 does, else the last:
    held-back samples have no part in that.
    """
    model, feeds = import_model(source).model, task.calibration(quick)
    clean(model)
    group = batchable(model_inputs(model))
    largest = max(feeds, key=lambda feed: sum(array.size for array in feed.values()))
    costs = count_macs(model, {name: array.shape for name, array in largest.items()})
    macs = {name: cost.macs for name, cost in costs.items() if cost.macs}
    settings = QuantizeSettings(scheme=tensorrt_scheme(precision), costs=macs)
    samples = (lambda size: joined(feeds, size)) if group else (lambda _: iter(feeds))
    prepared = prepare(model, Calibrator(lambda: feeds, group, AUTO_METHODS), settings, lambda _: None)
    typer = GraphTyper(model, precision, samples, macs)
    path = folder / precision.value / "model.onnx"
    path.parent.mkdir(parents=True, exist_ok=True)
    allowance, expected = Allowance(), 0.0
    for most in MOST:
        if most is not None:
            allowance = Allowance(target=expected / BETTER, most=most)
        quantized = prepared.quantized(allowance)
        expected, typed = quantized.expected, typer.typed(quantized)
        save_model(typed.model, path)
        with OnnxRuntimeEngine(source) as fp32, simulated(path) as engine:
            found = compare(fp32, {"typed": engine}, feeds)["typed"].outputs[task.output]
        share = typed.plan.quantized_shares.get(precision.value, 0.0)
        print(f"{source.parent.name} {precision.value}: {share:.0%} of MACs, agreement {found.agreement}", flush=True)
        if source.parent.name not in DECIDES or found.agreement is None or found.agreement >= AGREES:
            break
    return path, share


def _plan(path: Path, feed: Feed, precision: str, target: str, folder: Path) -> str:
    if why := refusal(precision, TARGETS[target]):
        return f"refused: {why}"
    shapes = {name: tuple(array.shape) for name, array in feed.items()}
    profile = ShapeProfile({name: ShapeRange(shape, shape, shape) for name, shape in shapes.items()})
    try:
        built = build_engine(
            BuildRequest(path, TARGETS[target], profile, folder / precision / target, precision), cache=False
        )
    except BuildError as error:
        return f"none: {error.what}"
    return f"{built.bytes / 1e6:.1f} MB"
