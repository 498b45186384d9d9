"""Forms of a retrained model by what the bundle keeps that is updated: its ranges, checked, and what it decided."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event

from benchmarks.report.updated import CalibrationCheck
from optimizer.events import Detail, Events
from optimizer.quantization.again import Again, Known, prepare_again
from optimizer.quantization.codes.scheme import Scheme
from optimizer.quantization.corrections.fallback import Allowance
from optimizer.quantization.observing.sampling import divided
from optimizer.quantization.prepared import Prepared, QuantizedModel
from optimizer.quantization.prepared_files import load_prepared, save_prepared
from optimizer.settings.asked_plan import AskedPlan
from optimizer.stages.forms.calibrated import calibrator_of, settings_of, until_stopped
from optimizer.stages.forms.float_graph import FloatGraph
from optimizer.stages.forms.typed_forms import TypedForm
from optimizer.stages.job import Cleaned, Job
from optimizer.stages.keys import again_key
from optimizer.stages.runner import Stage, StageRunner
from optimizer.typed.schemes import planned_formats

STAGE = "again"


@dataclass(frozen=True)
class Checked:
    """Whether the kept calibration fits; ``why`` it does not."""

    fits: bool
    why: str


class AsBefore:
    """What the job's ``kept`` says of its forms: all that making them knows of an update. In a job that is none it says
    nothing of any. ``checks`` are what was found of the kept calibrations, by scheme.
    """

    def __init__(self, job: Job, cleaned: Cleaned, runner: StageRunner, events: Events) -> None:
        self._job, self._cleaned, self._kept, self._runner, self._events = job, cleaned, job.kept, runner, events
        self.checks: dict[str, CalibrationCheck] = {}

    @property
    def is_update(self) -> bool:
        return self._kept is not None

    @property
    def scores_in_part(self) -> bool:
        """Whether a form is scored on no more samples than its budget needs: it is much like one that was scored."""
        return self._kept is not None and not self._kept.all_samples

    @property
    def knows_cpu_form(self) -> bool:
        """Whether the form that won on the CPU is the one that wins here."""
        return self._kept is not None and self._kept.knows_cpu_form

    @property
    def why_float(self) -> str:
        """Why nothing is quantized for TensorRT where that was asked for; empty where it was not."""
        return f"as in {self._kept.name}" if self._kept is not None and self._kept.typed_is_float else ""

    def scheme(self, asked: Scheme | None) -> Scheme | None:
        """``asked``; None where the form that it is for is to ship unquantized, as it did."""
        if asked is None or self._kept is None:
            return asked
        is_float = self._kept.cpu_is_float if asked.on_cpu else self._kept.typed_is_float
        return None if is_float else asked

    def prepared(self, graph: FloatGraph, scheme: Scheme, stop: Event) -> Prepared | None:
        """The graph as it was prepared before, where that still fits; None where it does not, which a warning says."""
        known = self._known(scheme)
        if known is None:
            return None
        name = f"{STAGE}-{scheme.name}"
        key = again_key(self._job, self._cleaned, scheme)
        stage = Stage(name, f"check the kept calibration for {scheme.title}", Checked, key)
        made: list[Prepared] = []

        def work(folder: Path) -> Checked:
            found = self._again(graph, scheme, known, name, stop)
            if found.prepared is not None:
                save_prepared(found.prepared, folder)
                made.append(found.prepared)
            return Checked(found.prepared is not None, found.why)

        checked = self._runner.run(stage, work, stop)
        if not checked.fits:
            self.refused(scheme, checked.why)
            return None
        samples = self._job.inputs.calibration.samples()
        found = made[0] if made else load_prepared(self._runner.folder(stage), divided(samples, graph.costs).judged)
        self.checks[scheme.name] = CalibrationCheck(True, found.again)
        return found

    def form(self, prepared: Prepared, make: Callable[[QuantizedModel], TypedForm]) -> TypedForm | None:
        """The form of what was prepared as before; None where that is over the budget, which a warning says."""
        form, scheme = make(prepared.quantized(Allowance())), prepared.settings.scheme
        if form.check.ok:
            return form
        self.refused(scheme, "; ".join(form.check.reasons))
        return None

    def told(self, form: TypedForm, scheme: Scheme | None) -> TypedForm:
        """``form`` with what became of the calibration that was kept for it."""
        return replace(form, before=self.checks.get(scheme.name) if scheme is not None else None)

    def refused(self, scheme: Scheme, why: str) -> None:
        """Say that the kept calibration for ``scheme`` is not used."""
        self.checks[scheme.name] = CalibrationCheck(False, why)
        self._events.warn(STAGE, f"calibrated again for {scheme.title}: {why}")

    def _known(self, scheme: Scheme) -> Known | None:
        if self._kept is None:
            return None
        form = self._kept.cpu if scheme.on_cpu else self._kept.typed
        return form.known if form is not None and scheme.calibrated else None

    def _again(self, graph: FloatGraph, scheme: Scheme, known: Known, name: str, stop: Event) -> Again:
        formats = planned_formats(AskedPlan.of_plan(known.plan), scheme)
        settings = replace(settings_of(self._job, graph, scheme), formats=formats)
        calibrator = calibrator_of(self._job, graph, name, self._events, stop)
        say = until_stopped(stop, self._events)
        return prepare_again(graph.model, calibrator, settings, known, on_step=lambda step: say(Detail(name, step)))
