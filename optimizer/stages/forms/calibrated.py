"""The stage that calibrates: a float graph made ready to be quantized in one form, for any budget and any target."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from optimizer.corrections import ALL, LEARNING, Correction
from optimizer.events import Detail, Events, Progress
from optimizer.quantization.codes.scheme import Scheme
from optimizer.quantization.observing.calibrating import Calibrator
from optimizer.quantization.observing.sampling import divided
from optimizer.quantization.prepared import Prepared
from optimizer.quantization.prepared_files import load_prepared, save_prepared
from optimizer.quantization.quantize import prepare
from optimizer.quantization.settings import QuantizeSettings
from optimizer.stages.forms.float_graph import FloatGraph
from optimizer.stages.job import Cleaned, Job
from optimizer.stages.keys import calibration_key
from optimizer.stages.runner import Stage, StageRunner
from optimizer.typed.schemes import planned_formats

AUTO_METHODS = ("mse", "percentile", "minmax")
"""What ``--calibration auto`` chooses from, by output error, beside a search that starts from the first."""


@dataclass(frozen=True)
class Calibrated:
    """What it came to; the rest lies beside it (``quantization.prepared_files``)."""

    quantizes: bool
    notes: list[str]


def calibrated(
    job: Job, cleaned: Cleaned, graph: FloatGraph, scheme: Scheme, runner: StageRunner, events: Events, stop: Event
) -> Prepared:
    """Calibrate for ``scheme``, or read back what an earlier run or another job found. Once ``stop`` is set, the next
    step that begins raises ``KeyboardInterrupt``.
    """
    name = f"calibrate-{scheme.name}"
    title = f"calibrate and quantize for {scheme.title}"
    stage = Stage(name, title, Calibrated, calibration_key(job, cleaned, scheme), shared=True)
    settings = settings_of(job, graph, scheme)

    say = until_stopped(stop, events)
    calibrator = calibrator_of(job, graph, name, events, stop)
    made: list[Prepared] = []

    def work(folder: Path) -> Calibrated:
        found = prepare(graph.model, calibrator, settings, on_step=lambda step: say(Detail(name, step)))
        save_prepared(found, folder)
        made.append(found)
        return Calibrated(found.quantizes, list(found.notes))

    runner.run(stage, work, stop)
    if made:
        return made[0]
    return load_prepared(runner.folder(stage), divided(calibrator.samples(), graph.costs).judged)


def settings_of(job: Job, graph: FloatGraph, scheme: Scheme) -> QuantizeSettings:
    asked = ALL - {Correction(name) for name in job.settings.without}
    return QuantizeSettings(
        scheme=scheme,
        corrections=asked if job.inputs.calibrated else asked - LEARNING,
        costs=graph.costs,
        seed=job.settings.seed,
        formats=planned_formats(job.settings.plan, scheme),
    )


def until_stopped(stop: Event, events: Events) -> Callable[[Detail | Progress], None]:
    """Tells ``events``; once ``stop`` is set, raises ``KeyboardInterrupt`` instead."""

    def say(event: Detail | Progress) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        events.emit(event)

    return say


def calibrator_of(job: Job, graph: FloatGraph, stage: str, events: Events, stop: Event) -> Calibrator:
    """The job's calibration samples, and the range methods that were asked for; ``stop`` ends a pass over them."""
    say = until_stopped(stop, events)
    inputs, asked = job.inputs, job.settings.calibration
    total = len(inputs.calibration)
    return Calibrator(
        samples=inputs.calibration.samples,
        batchable=False,  # a source gives one sample per feed
        methods=AUTO_METHODS if asked == "auto" else (asked,),
        calibrated=inputs.calibrated,
        model_digest=job.imported.digest,
        data_digest=inputs.calibration.digest,
        on_plan=lambda plan: events.note(stage, plan.sentence),
        on_progress=lambda done: say(Progress(stage, done, total, "calibration samples")),
        known=graph.known,
    )
