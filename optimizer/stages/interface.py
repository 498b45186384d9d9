"""Inputs and outputs in another float type than the source has them, for everything behind: ``--io-precision``.

The graph is cleaned and verified as given first. Then it, what accuracy is judged against, and the data change
together: engines are built, fed, measured and served in the types that were asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import onnx_ir as ir

from calibration.source import Sample, SampleSource, Wrapping, place_of
from calibration.sources.inputs import convert
from engines.engine import Feed, TensorSpec
from graphs.digests import digest_of
from graphs.storage.model_files import model_digest
from graphs.storage.saving import save_model
from optimizer.bundle import MODEL
from optimizer.importing import import_model
from optimizer.passes.number_types.interface_types import InterfaceTypes
from optimizer.settings.job import Settings
from optimizer.settings.options import KEEP
from optimizer.stages.job import Cleaned, Job

_DTYPES = {"fp32": ir.DataType.FLOAT, "fp16": ir.DataType.FLOAT16, "bf16": ir.DataType.BFLOAT16}
_FLOATS = ("float16", "float32", "float64", "bfloat16")
_CASTS_ALL = 13
"""First opset whose Cast knows bfloat16: a source of an older one is judged as imported."""


def changes_interface(job: Job) -> bool:
    """Whether other types were asked for than some float input or output has."""
    wanted = wanted_type(job.settings)
    values = (*job.imported.model.graph.inputs, *job.imported.model.graph.outputs)
    return wanted is not None and any(value.dtype in _DTYPES.values() and value.dtype is not wanted for value in values)


def wanted_type(settings: Settings) -> ir.DataType | None:
    """None where the source's types are kept."""
    return None if settings.io_precision == KEEP else _DTYPES[settings.io_precision]


def change_graphs(job: Job, cleaned: Cleaned, folder: Path) -> Cleaned:
    """Leave the cleaned graph, and what it is judged against, in ``folder`` with the types asked for."""
    wanted = wanted_type(job.settings)
    assert wanted is not None
    graph, reference = ir.load(cleaned.path), _as_given(job, cleaned)
    notes = InterfaceTypes(wanted).apply(graph).notes
    InterfaceTypes(wanted).apply(reference)
    for name, model in (("reference", reference), ("graph", graph)):
        (folder / name).mkdir()
        save_model(model, folder / name / MODEL)
    path = folder / "graph" / MODEL
    said = [f"{note} (asked for with --io-precision {job.settings.io_precision})" for note in notes]
    return replace(
        cleaned,
        path=path,
        digest=model_digest(path),
        reference=folder / "reference" / MODEL,
        notes=[*cleaned.notes, *said],
    )


def _as_given(job: Job, cleaned: Cleaned) -> ir.Model:
    """The source, or what stands in for it where ONNX Runtime does not run that."""
    if cleaned.reference is not None:
        return ir.load(cleaned.reference)
    given: ir.Model = ir.load(job.imported.path)
    if given.opset_imports.get("", 1) < _CASTS_ALL:
        return import_model(job.imported.path, widen=False).model
    return given


def change_data(job: Job) -> Job:
    """``job`` with its samples in the types asked for; numbers these cannot hold are refused when they are read."""
    dtype = wanted_type(job.settings)
    assert dtype is not None
    inputs, name = job.inputs, str(dtype.numpy().name)
    calibration, held_back = RetypedSource(inputs.calibration, name), RetypedSource(inputs.held_back, name)
    digest = digest_of((inputs.digest, name))
    retyped = replace(inputs, calibration=calibration, held_back=held_back, digest=digest)
    return replace(job, inputs=retyped, specs=calibration.specs)


class RetypedSource(Wrapping[SampleSource]):
    """``source`` with its floats as ``dtype``, a numpy name."""

    def __init__(self, source: SampleSource, dtype: str) -> None:
        super().__init__(source)
        self._dtype = dtype

    @property
    def specs(self) -> tuple[TensorSpec, ...]:
        return tuple(replace(s, dtype=self._dtype) if s.dtype in _FLOATS else s for s in self._source.specs)

    @property
    def digest(self) -> str:
        return digest_of((self._source.digest, self._dtype))

    def samples(self) -> Iterator[Feed]:
        specs = {spec.name: spec for spec in self.specs}
        for number, sample in enumerate(self._source.samples()):
            where = place_of(sample, number)
            yield Sample({n: convert(a, specs[n], f"{where}: {n!r}") for n, a in sample.items()}, where)
