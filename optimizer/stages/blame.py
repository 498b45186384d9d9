"""Whose fault it is that a graph does not run: where the model as given fails on a sample too, the sample's."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from calibration.source import place_of
from engines.errors import EngineError
from engines.onnxruntime.engine import OnnxRuntimeEngine
from graphs.errors import BadInput
from optimizer.stages.job import Job

GIVE_DATA = "give real inputs with --data (a folder of .npz), or the lengths of made-up ones with --shape NAME=SHAPE"
MEND_DATA = "correct or leave out this sample"


def sample_at_fault(job: Job) -> BadInput | None:
    """The first calibration or held-back sample that the model as given cannot run on; None where it runs on all."""
    try:
        engine = OnnxRuntimeEngine(job.imported.path, lean=True)
    except EngineError:
        return None
    with engine:
        return next(_failures(job, engine), None)


def _failures(job: Job, engine: OnnxRuntimeEngine) -> Iterator[BadInput]:
    samples = chain(job.inputs.calibration.samples(), job.inputs.held_back.samples())
    for number, sample in enumerate(samples):
        try:
            engine.infer(sample)
        except EngineError as error:
            yield BadInput(
                f"the model as given fails on it: {error.what}",
                where=place_of(sample, number),
                expected="inputs that the model can run in ONNX Runtime",
                fix=MEND_DATA if job.inputs.calibrated else GIVE_DATA,
            )
