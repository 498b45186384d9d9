"""Cleaning the graph, and verifying that what was imported and cleaned still is the model as given.

Both run in ONNX Runtime on a few calibration samples before anything else is done. A cleaning pass that changes answers
is undone; a conversion that does ends the job, for everything after it would rest on another model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import onnx_ir as ir

from engines.engine import Feed
from engines.errors import EngineError
from engines.onnxruntime.engine import is_large
from graphs.errors import BadInput, EnginewrightError
from graphs.reading.macs import count_macs, total_macs
from graphs.storage.model_files import model_digest
from graphs.storage.saving import save_model
from optimizer.bundle import MODEL
from optimizer.equivalence import Answers, Equivalence
from optimizer.events import Events
from optimizer.importing import import_model
from optimizer.importing.survey import Dialect, Survey
from optimizer.passes.clean import clean_and_check
from optimizer.stages.blame import sample_at_fault
from optimizer.stages.job import Cleaned, Job
from optimizer.stages.profiles import profiles, shapes_in_data, uncovered
from optimizer.stages.reference import Reference, reference_of
from optimizer.stages.sound_weights import check_weights

FEEDS, FEEDS_OF_LARGE = 4, 1
"""Samples compared: what differs by structure differs on the first; large models take seconds for each. Chosen."""

NEAR_OF_CODES_DB = {Dialect.QOPERATOR: 30.0, Dialect.DYNAMIC: 15.0}
"""SQNR, dB, down to which a graph spelt out in Q/DQ or float is the source's. Chosen, well above a wrong one's 0: the
demo in QOperator form has 200, in dynamic form, whose rounding of data is left out, 48."""

CHANCE = (
    "the model draws random numbers: its own answers for {} differ from run to run, and accuracy beside FP32 says "
    "nothing of them; make the noise an input of the model to have them judged"
)


@dataclass(frozen=True)
class CleanGraph:
    """The float graph, the notes of cleaning it, and what accuracy is judged against: the file as given (None), or,
    where ONNX Runtime does not run that, the graph as imported.
    """

    model: ir.Model
    reference: Path | None
    notes: list[str] = field(default_factory=list)


def clean(job: Job, folder: Path, events: Events) -> Cleaned:
    """Leave the float graph in ``folder``, with all that is known of it before anything is calibrated."""
    found, path = clean_graph(job, folder, events), folder / MODEL
    save_model(found.model, path)
    observed = shapes_in_data(job)
    sample = {name: shapes[-1] for name, shapes in observed.items()}  # attention weighs most in the longest
    profile, *more = profiles(job, observed, sample)
    for warning in uncovered(job, observed, [profile, *more]):
        events.warn("clean", warning)
    costs = count_macs(found.model, sample)
    return Cleaned(path, model_digest(path), found.reference, profile, sample, total_macs(costs), found.notes, more)


def clean_graph(job: Job, work: Path, events: Events) -> CleanGraph:
    """Clean the imported graph and verify it. Raises ``EnginewrightError`` where importing changed what it computes,
    ``BadInput`` where ONNX Runtime runs neither the file nor what was imported, and where weights hold NaN or answers
    nothing else.
    """
    given, imported = job.imported.path, job.imported.model
    check_weights(imported, str(given))
    feeds = list(islice(job.inputs.calibration.samples(), FEEDS_OF_LARGE if is_large(given) else FEEDS))
    reference = _reference(job, feeds, work, events)
    answers = reference.answers
    if nothing := answers.without_numbers:
        raise BadInput(
            f"output {nothing[0]!r} of the model as given is NaN throughout the {len(feeds)} samples looked at",
            where=str(given),
            expected="numbers, to compare with",
            fix="check that --data is scaled as the model was trained on, or leave the output out of the model",
        )
    if answers.random:
        events.warn("clean", CHANCE.format(", ".join(map(repr, answers.random[:3]))))
    first: list[bool] = []

    def check(model: ir.Model) -> Equivalence:
        found = _as_its_codes_allow(_compare(answers, model), job.imported.quantization)
        first.append(found.near)
        return found

    cleaned = clean_and_check(imported, check)
    if not (first and first[0]) and not reference.widened:  # a pass is at fault, or the import before it
        own = _answers_of_imported(job, answers, events)
        if own is not answers:
            cleaned = clean_and_check(imported, partial(_compare, own))
    for fault in cleaned.faults:
        events.note("clean", fault)
    return CleanGraph(cleaned.model, reference.path if reference.refusal else None, cleaned.notes)


def _reference(job: Job, feeds: Sequence[Feed], work: Path, events: Events) -> Reference:
    """What the graph is compared with. Raises ``BadInput`` where ONNX Runtime runs nothing of the model."""
    try:
        found = reference_of(job.imported, feeds, work)
    except EngineError as refusal:
        raise sample_at_fault(job) or BadInput(
            f"ONNX Runtime, which runs the model for calibration and checks, does not run it: {refusal.what}",
            where=str(job.imported.path),
            fix="check that the data fits the model, or export it with operators ONNX Runtime has",
        ) from refusal
    if found.refusal:
        events.note(
            "clean",
            f"ONNX Runtime does not run the file as given ({found.refusal}): what was imported could not be compared "
            "with it, and is what accuracy is judged against",
        )
    return found


def _answers_of_imported(job: Job, answers: Answers, events: Events) -> Answers:
    """The imported graph's own answers, after a look at whether those are the file's. Raises ``BadInput`` where
    float32 cannot hold them.
    """
    found = _compare(answers, job.imported.model)
    if found.near:
        return answers
    given = job.imported.path
    if not _compare(answers, import_model(given, widen=False).model).near:
        converted = job.imported.conversion
        raise EnginewrightError(
            f"importing the model changed what it computes: {found.why}" + (f" ({converted})" if converted else ""),
            where=str(given),
            expected="the same answers before and after import, on the first calibration samples",
            fix="export the model with opset 21; please report this one, for the fault is in enginewright's import",
        )
    if found.overflows:
        raise BadInput(
            f"in float32, which engines compute in, output {found.overflows!r} is NaN or infinite where the model's "
            "own float64 is finite",
            where=str(given),
            expected=f"numbers within float32's {np.finfo(np.float32).max:.3g}",
            fix="scale the data or the model, or leave out samples that hold such numbers",
        )
    events.warn("clean", f"the model does not compute in FP32 what it does in its own float type: {found.why}")
    return Answers.of(job.imported.model, answers.feeds, fuse_qdq=False)


def _as_its_codes_allow(found: Equivalence, source: Survey | None) -> Equivalence:
    """``found``, near enough where no more differs than a source of integer operators makes of the last float digit:
    their float form rounds some sums to the neighbouring code, and rounds none that were quantized as they came.
    """
    least = NEAR_OF_CODES_DB.get(source.dialect, math.inf) if source is not None else math.inf
    return replace(found, near=True) if found.sqnr_db >= least and not found.overflows else found


def _compare(answers: Answers, model: ir.Model) -> Equivalence:
    """With Q/DQ executed as they stand: which of them a runtime fuses into integer kernels is no matter of meaning."""
    return answers.compare(model, fuse_qdq=False)
