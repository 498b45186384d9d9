"""The GPU that is here: its engine's forms built, checked and timed; the one that is fastest within the budget ships.

What ``cpu_engine`` is for the processor. Everything that touches the GPU runs in child processes: what crashes there,
or runs out of memory, costs its form and a warning, never the job.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path

from benchmarks.accuracy.first_difference import FirstDifference
from benchmarks.batching import smallest_feed
from engines.errors import BuildFailure
from engines.manifest import EngineManifest
from engines.targets.target import Target
from optimizer.attempt import attempt
from optimizer.events import Detail, Events
from optimizer.stages.engines import keys
from optimizer.stages.engines.as_before import gpu_as_before
from optimizer.stages.engines.baseline import BASELINE, build_baseline
from optimizer.stages.engines.build import BuildOutcome, Terms, outcome
from optimizer.stages.engines.candidates import Built, Candidate, Candidates, build_siblings, candidates
from optimizer.stages.engines.checking import EngineChecks, check_engines, unlike
from optimizer.stages.engines.first_difference import SAMPLES, LayerSearch
from optimizer.stages.engines.measuring import Measured, measure, shipped_form
from optimizer.stages.engines.record import TargetEngine, measuring
from optimizer.stages.engines.shipping import describe_engine
from optimizer.stages.forms.siblings import SiblingGraph
from optimizer.stages.forms.typed import FormMaker
from optimizer.stages.forms.typed_forms import TypedForm
from optimizer.stages.job import Cleaned, Job
from optimizer.stages.runner import Stage, StageRunner


class NativeEngines:
    """Makes the engine of every target that runs here, from what was built of the form asked for."""

    def __init__(
        self,
        job: Job,
        cleaned: Cleaned,
        terms: Terms,
        maker: FormMaker,
        runner: StageRunner,
        bundle: Path,
        events: Events,
    ) -> None:
        self._job, self._cleaned, self._terms, self._maker = job, cleaned, terms, maker
        self._runner, self._bundle, self._events = runner, bundle, events

    def make(self, target: Target, built: BuildOutcome, typed: TypedForm, engine: Path) -> TargetEngine:
        """``engine`` is the folder that ``built`` is about. Where no form could be built, there is only the reason."""
        found = self._candidates(target, built, typed, engine)
        if not found.built:
            return TargetEngine(built)
        out = self._bundle / "engines" / target.name
        checked = self._checked(target, found, typed)
        measured = self._measured(target, found, checked, typed, out)
        form = shipped_form(found, measured, checked)
        if form is not None and form.path != typed.path:
            describe_engine(out, form)
        made = outcome(target.name, out, EngineManifest.load(out))
        return TargetEngine(made, measured.record, form, measured.reason, out)

    def baseline(self, typed: TypedForm) -> TargetEngine | None:
        """ONNX Runtime's CUDA provider on the float siblings of ``typed``; None where it does not run, which a warning
        says.
        """
        graphs = self._maker.siblings(typed.plan.computes_in) or {
            typed.plan.computes_in: SiblingGraph(typed.path, typed.plan, typed.int8_mac_share)
        }
        paths = {form: graph.path for form, graph in graphs.items()}
        name, key = BASELINE.name, keys.siblings_building_key(self._job, self._cleaned, paths, BASELINE.name)
        stage = Stage(f"siblings-{name}", f"open the model in {BASELINE.title}", Built, key)
        built = self._runner.run(stage, lambda folder: build_baseline(paths, self._terms, folder))
        folder = self._runner.folder(stage)
        found = Candidates(
            next(reversed(graphs)),
            next(reversed(graphs.values())).plan,
            {
                form: Candidate(g.path, g.plan, g.int8_mac_share, None, folder / form)
                for form, g in graphs.items()
                if form in built.names
            },
            built.refused,
        )
        if not found.built:
            return None
        checked = self._checked(BASELINE, found, typed)
        measured = self._measured(BASELINE, found, checked, typed, None)
        form = shipped_form(found, measured, checked)
        if measured.record is None or form is None:
            return None
        engine = found.built[measured.form].engine
        manifest = EngineManifest.load(engine)
        made = BuildOutcome(name, None, manifest.bytes, manifest.build_seconds, manifest.backend)
        return TargetEngine(made, measured.record, form, folder=engine, target=BASELINE)

    def _candidates(self, target: Target, built: BuildOutcome, typed: TypedForm, engine: Path) -> Candidates:
        alone = self._job.settings.asked_gpu_form == "asked" or built.failure is BuildFailure.MISSING_LIBRARY
        alone = alone or bool(gpu_as_before(self._job, typed))
        graphs = {} if alone else self._maker.siblings(typed.plan.computes_in)
        if not graphs:
            return candidates(built, typed, engine, {}, Built([], {}), engine)
        name = f"siblings-{target.name}"
        title = f"build engines in {' and '.join(graphs)} to compare with"
        paths = {form: graph.path for form, graph in graphs.items()}
        stage = Stage(name, title, Built, keys.siblings_building_key(self._job, self._cleaned, paths, target.name))
        siblings = self._runner.run(
            stage, lambda folder: build_siblings(target, graphs, self._terms, folder, name, self._events)
        )
        return candidates(built, typed, engine, graphs, siblings, self._runner.folder(stage))

    def _checked(self, target: Target, found: Candidates, typed: TypedForm) -> EngineChecks:
        name, engines = f"check-{target.name}", {form: made.engine for form, made in found.built.items()}
        title = f"check the accuracy of the engine on {target.title}"
        stage = Stage(name, title, EngineChecks, keys.checking_key(self._job, engines))

        def work(_: Path) -> EngineChecks:
            show = lambda form: self._events.emit(Detail(name, f"{form} beside FP32"))  # noqa: E731
            checked = check_engines(engines, lambda: self._maker.checker, show)
            for form, why in checked.failed.items():
                self._events.warn(name, f"{target.name}: the {form.upper()} engine does not run: {why}")
            own = found.asked in found.built and found.built[found.asked].path == typed.path
            asked = checked.checks.get(found.asked) if own else None
            if asked is not None and (differs := unlike(asked.accuracy, typed.check.accuracy)):
                engine = found.built[found.asked].engine
                first, notes = attempt(
                    "finding the layer that differs", lambda: self._first_difference(target, engine, typed, name), None
                )
                where = [first.sentence] if first is not None else notes
                self._events.warn(name, "; ".join([f"{target.name}: {differs}", *where]))
                return replace(checked, first_difference=first)
            return checked

        return self._runner.run(stage, work)

    def _first_difference(self, target: Target, engine: Path, typed: TypedForm, stage: str) -> FirstDifference | None:
        manifest = EngineManifest.load(engine)
        samples = islice(self._job.inputs.held_back.samples(), SAMPLES)
        feeds = [smallest_feed(sample, manifest) for sample in samples]
        search = LayerSearch(typed.path, typed.plan, target, self._terms, feeds)
        return search.find(engine, lambda text: self._events.emit(Detail(stage, text)))

    def _measured(
        self, target: Target, found: Candidates, checked: EngineChecks, typed: TypedForm, out: Path | None
    ) -> Measured:
        name = measuring(target)
        engines = {form: made.engine for form, made in found.built.items()}
        key = keys.measuring_key(self._job, self._cleaned, keys.checking_key(self._job, engines), found.refused)
        stage = Stage(
            name, f"measure the engine on {target.title} against FP32", Measured, key, leaves=(out,) if out else ()
        )

        def work(_: Path) -> Measured:
            feed = next(iter(self._job.inputs.held_back.samples()))
            asked_only = self._job.settings.asked_gpu_form == "asked"
            measured = measure(found, checked, feed, self._cleaned.profile, asked_only, out)
            before, record = gpu_as_before(self._job, typed), measured.record
            if before and record is not None and not record.why:
                measured = replace(measured, record=replace(record, why=before))
            for note in measured.record.notes if measured.record is not None else ():
                self._events.warn(name, f"{target.name}: {note}")
            return measured

        return self._runner.run(stage, work)
