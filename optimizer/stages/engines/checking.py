"""Accuracy of the engines that run here: measured on themselves, in place of a simulation of their graphs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.accuracy.compare import Accuracy
from benchmarks.accuracy.first_difference import FirstDifference
from engines.apart.opening import open_apart
from engines.errors import BuildError, EngineError
from optimizer.stages.forms.accuracy_check import ALIKE_DB, AccuracyCheck, AccuracyChecker

NEAR_DB = 1.0
"""By how much SQNR measured on an engine and simulated of its graph may differ before a warning says so. Chosen."""


@dataclass(frozen=True)
class EngineChecks:
    """By form: what held-back samples and the task metric said of an engine, or why it did not run.

    ``first_difference`` is where the engine of the form asked for begins to differ from the simulation of its graph,
    where the two differ enough to look.
    """

    checks: dict[str, AccuracyCheck]
    failed: dict[str, str]
    first_difference: FirstDifference | None = None


def check_engines(
    engines: Mapping[str, Path], checker: Callable[[], AccuracyChecker], show: Callable[[str], None] = lambda _: None
) -> EngineChecks:
    """Run every engine, by form in the folders ``engines``, in a process of its own beside FP32. One that cannot be
    opened, crashes or runs out of memory is left out with the reason.
    """
    checks, failed = dict[str, AccuracyCheck](), dict[str, str]()
    for form, folder in engines.items():
        show(form)
        try:
            with open_apart(folder) as engine:
                checks[form] = checker().check_engine(engine)
        except (EngineError, BuildError) as error:
            failed[form] = " ".join(error.what.split())  # not where: that folder is gone when the job is done
    return EngineChecks(checks, failed)


def unlike(measured: Accuracy, simulated: Accuracy) -> str:
    """Where an engine and the simulation of its graph differ by more than ``NEAR_DB``: one sentence on the output that
    differs most, empty where none does. Beyond ``ALIKE_DB`` both are the rounding of float16.
    """
    found = {
        name: (min(output.sqnr_db, ALIKE_DB), min(simulated.outputs[name].sqnr_db, ALIKE_DB))
        for name, output in measured.outputs.items()
        if output.floats and name in simulated.outputs
    }
    if not found:
        return ""
    name, (engine, twin) = max(found.items(), key=lambda item: abs(item[1][0] - item[1][1]))
    if abs(engine - twin) <= NEAR_DB:
        return ""
    return (
        f"output {name!r} has {engine:.1f} dB on the engine itself where {twin:.1f} dB were simulated of its graph: "
        "the engine does not compute what the graph says, or the simulation is wrong"
    )
