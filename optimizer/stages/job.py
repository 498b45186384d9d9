"""What the stages work on: the job as asked, and the float graph it is done on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from engines.build import Builder, build_engine
from engines.engine import TensorSpec
from engines.profile import Shape, ShapeProfile, ShapeRange
from engines.targets.target import Target
from graphs.digests import digest_of
from optimizer.importing import ImportedModel
from optimizer.kept import Kept
from optimizer.settings.job import Settings
from optimizer.settings.options import Precision
from optimizer.stages.data.inputs import Inputs
from optimizer.version import code_digest


@dataclass(frozen=True)
class Job:
    """One run: the imported model, its data, and what was asked for.

    ``shape_profiles`` are the ranges given for each optimization profile; the first is also what data is drawn for;
    ``command`` makes the bundle again, and is empty where none is known to. ``builder`` builds engines that do not run
    here: the same, wherever it does. ``kept`` is what the bundle keeps of which this is an update.
    """

    imported: ImportedModel
    specs: tuple[TensorSpec, ...]
    inputs: Inputs
    settings: Settings
    targets: list[Target]
    shape_profiles: list[dict[str, ShapeRange]]
    tools: dict[str, str]
    command: str = ""
    builder: Builder = build_engine
    kept: Kept | None = None

    @property
    def keeps_quantization(self) -> bool:
        """Whether the model came quantized and stays so: INT8 was asked for, and no calibration of our own."""
        found, settings = self.imported.quantization, self.settings
        in_int8 = settings.precision in (Precision.INT8, Precision.AUTO) and settings.calibration == "auto"
        return found is not None and found.static and in_int8

    def left_out(self, notes: Sequence[str]) -> list[str]:
        """``notes`` on the quantization that the model came with and that is not kept, with why; none where it is."""
        if self.keeps_quantization:
            return []
        settings = self.settings
        anew = settings.calibration != "auto" and settings.precision.quantized
        asked = f"--calibration {settings.calibration}" if anew else f"--precision {settings.precision.value}"
        return [f"{note} (asked for with {asked})" for note in notes]

    @property
    def key(self) -> str:
        """Digest of model, data, settings, targets, libraries and our own code: equal keys make equal bundles."""
        parts = [self.imported.digest, self.inputs.digest, self.settings.digest(), *(t.name for t in self.targets)]
        parts += [repr(self.inputs.batching)]
        parts += [f"{name}={version}" for name, version in sorted(self.tools.items())]
        parts += [code_digest(), *([self.kept.digest, f"{self.kept.all_samples}"] if self.kept is not None else [])]
        return digest_of(parts)


@dataclass(frozen=True)
class Cleaned:
    """The float graph: where it is, its ``model_digest``, what its accuracy is judged against (None: the file as
    given), the profiles its inputs get, its cost per sample. ``pruned`` is the digest of what 2:4 sparsity made of it.
    """

    path: Path
    digest: str
    reference: Path | None
    profile: ShapeProfile
    sample_shapes: dict[str, Shape]
    macs: int
    notes: list[str]
    more_profiles: list[ShapeProfile] = field(default_factory=list)
    pruned: str = ""
