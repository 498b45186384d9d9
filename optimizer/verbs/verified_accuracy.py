"""What ``optimize verify --model`` re-checks: the accuracy of a bundle's engines against FP32, here and now."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.accuracy.compare import SQNR_CAP_DB
from benchmarks.report.model import Report, read_report
from calibration.source import SampleSource
from engines.engine import EngineBase
from engines.feeds.in_types import InTypesOf
from engines.feeds.portions import InPortions
from engines.manifest import EngineManifest
from engines.profile import parse_shape_profiles
from graphs.errors import BadInput, EnginewrightError
from graphs.reading.rounded import rounded_outputs
from optimizer.bundle import REPORT, Bundle
from optimizer.importing import import_model
from optimizer.kept import check_sources
from optimizer.stages.data.inputs import open_inputs
from optimizer.stages.engines.checking import NEAR_DB
from optimizer.stages.forms.accuracy_check import AccuracyCheck, AccuracyChecker
from optimizer.stages.reference import reference_of

Open = Callable[[EngineManifest, Path], EngineBase]


@dataclass(frozen=True)
class Recheck:
    """The checker that every engine goes through, the samples it feeds, and what the report says. ``as_then``: these
    are the samples of the report, so that its figures must come out again.
    """

    bundle: Bundle
    report: Report
    held_back: SampleSource
    checker: AccuracyChecker
    as_then: bool

    @staticmethod
    def of(bundle: Bundle, model: Path, given: Mapping[str, Any], folder: Path) -> Recheck:
        """Open ``model`` and the samples that the bundle was made with, or those ``given`` (``data``, ``eval_data``).
        What answers in the model's place, where ONNX Runtime does not run it, is left in ``folder``.

        Raises ``BadInput`` for a model that the bundle was not made of, and for samples that are not there.
        """
        where = str(bundle.path)
        if (recorded := bundle.manifest.settings) is None:
            raise BadInput("comes from a version that kept no settings", where=where, fix="make it again")
        settings = recorded.settings(where, given)
        check_sources(settings, given, where)
        imported = import_model(model)
        if imported.digest != bundle.manifest.model_digest:
            raise BadInput(f"is not the model that {bundle.path.name} was made of", where=str(model))
        inputs = open_inputs(settings, imported, parse_shape_profiles(settings.shapes)[0])
        checker = AccuracyChecker(
            reference_of(imported, list(islice(inputs.held_back.samples(), 1)), folder).path,
            inputs.held_back,
            settings.evaluate,
            settings.allowed_drop,
            batching=inputs.batching,
            rounded=rounded_outputs(imported.model),
        )
        same = inputs.digest == bundle.manifest.data_digest
        return Recheck(bundle, read_report(bundle.path / REPORT), inputs.held_back, checker, same)

    def of_engine(self, target: str, opened: Open) -> str:
        """One sentence on the engine of ``target``. Raises ``EngineElsewhere`` where it does not run here, and
        ``EnginewrightError`` where it is less accurate than the budget, or than the report says.
        """
        folder = self.bundle.engine_directory(target)
        manifest = EngineManifest.load(folder)
        specs = self.held_back.specs
        with opened(manifest, folder) as engine:
            engine.learn(specs)
            whole = InPortions(InTypesOf(engine, specs, str(folder)), manifest.profiles)
            found = self.checker.check_engine(whole)
        now, then = _worst_db(found), self._reported_db(target)
        said = f"{_decibels(now)} on {found.accuracy.samples} held-back samples"
        known = self.as_then and self.report.status == "over_budget"
        if not found.ok and not known:
            raise EnginewrightError(f"{said}: {'; '.join(found.reasons)}")
        if self.as_then and now < then - NEAR_DB:
            raise EnginewrightError(f"{said}, where the report says {_decibels(then)}")
        return f"{said}{_of_task(found)}{f', as reported ({_decibels(then)})' if self.as_then else ''}"

    def _reported_db(self, target: str) -> float:
        outputs = self.report.targets[target].accuracy if target in self.report.targets else None
        known = [fidelity.sqnr_db for fidelity in (outputs or {}).values() if fidelity.sqnr_db is not None]
        return min(known, default=-math.inf)


def _worst_db(found: AccuracyCheck) -> float:
    return min(output.sqnr_db for output in found.accuracy.outputs.values())


def _decibels(value: float) -> str:
    return "exact" if value >= SQNR_CAP_DB else f"{value:.1f} dB"


def _of_task(found: AccuracyCheck) -> str:
    return "" if found.task is None else f", {found.task.metric} {found.task.fp32:.4g} -> {found.task.optimized:.4g}"
