"""What a bundle keeps for a retrained successor of its model: settings, structure, and how each form came about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.report.model import Report, read_report
from calibration.sources.open import from_files
from calibration.table import CalibrationTable
from engines.targets.target import CPU
from graphs.digests import sha256_file
from graphs.errors import BadInput
from graphs.files import read_json
from graphs.reading.structure import Structure
from optimizer.bundle import CHOICES, MANIFEST, PLAN, REPORT, STRUCTURE, TABLE, Bundle
from optimizer.machine import cpu_name
from optimizer.precision import PrecisionPlan
from optimizer.quantization.again import Known
from optimizer.quantization.choices import Choices
from optimizer.settings.job import Settings

_ANEW = "make a bundle with this version once: `optimize MODEL.onnx` with the options of then"


@dataclass(frozen=True)
class KeptForm:
    """A form in a bundle: ``known`` is None where it was not quantized with ranges of ours."""

    plan: PrecisionPlan
    known: Known | None = None


@dataclass(frozen=True)
class Kept:
    """``typed`` is the form of ``model.onnx`` where a GPU was a target, ``cpu`` that of the CPU's engine, ``cpu_why``
    the reason that was given for it. ``model_digest`` is the earlier model's, ``seconds`` what the bundle took to make;
    ``here``: on this processor, so that what was faster there is so here. ``shipped`` is what each target's engine
    computes in, by name, where that was measured. ``all_samples``: the metric is to be taken on all of its samples.
    """

    bundle: Path
    digest: str
    structure: Structure
    settings: Settings
    model_digest: str
    seconds: float
    here: bool
    typed: KeptForm | None = None
    cpu: KeptForm | None = None
    cpu_why: str = ""
    shipped: Mapping[str, str] = field(default_factory=dict)
    all_samples: bool = False

    @property
    def name(self) -> str:
        """What messages call the bundle."""
        return self.bundle.name

    @property
    def unchanged(self) -> bool:
        """Whether every GPU's engine that was measured ships in what ``model.onnx`` computes in."""
        on_gpus = [form for name, form in self.shipped.items() if name != CPU.name]
        wanted = self.typed.plan.computes_in if self.typed is not None else ""
        return bool(on_gpus) and all(form == wanted for form in on_gpus)

    @property
    def knows_cpu_form(self) -> bool:
        """Whether the form that won on the CPU is the one that wins here."""
        return self.here and self.cpu is not None

    @property
    def cpu_is_float(self) -> bool:
        """Whether the CPU's engine is to ship unquantized, as it did."""
        return self.knows_cpu_form and self.cpu is not None and not _quantized(self.cpu.plan)

    @property
    def typed_is_float(self) -> bool:
        """The same of the form that plans are built from."""
        return self.typed is not None and not _quantized(self.typed.plan)


def read_kept(path: Path, given: Mapping[str, Any]) -> Kept:
    """What the bundle at ``path`` keeps; ``given`` are settings to have in place of its own.

    Raises ``BadInput`` for a folder that is no bundle, is not whole, or comes from a version that kept too little.
    """
    bundle = Bundle(path.absolute())
    recorded = bundle.manifest.settings
    if recorded is None or not (bundle.path / STRUCTURE).is_file():
        raise BadInput("comes from a version that kept nothing for an update", where=str(path), fix=_ANEW)
    if damaged := bundle.damaged_files("*.json"):
        raise BadInput(f"{damaged[0]} is missing, or not what the manifest says", where=str(path), fix=_ANEW)
    settings = recorded.settings(str(path), given)
    check_sources(settings, given, str(path))
    report = read_report(bundle.path / REPORT)
    here = report.machine.get("cpu") == cpu_name()
    structure = read_json(bundle.path / STRUCTURE, Structure)
    cpu = _form(bundle, bundle.path / "engines" / CPU.name) if CPU.name in report.targets else None
    own = report.targets[CPU.name] if cpu is not None else None
    return Kept(
        bundle=bundle.path,
        digest=sha256_file(bundle.path / MANIFEST),
        structure=structure,
        settings=settings,
        model_digest=bundle.manifest.model_digest,
        seconds=sum(report.timings.values()),
        here=here,
        typed=_form(bundle, bundle.path) if any(name != CPU.name for name in report.targets) else None,
        cpu=cpu,
        cpu_why=(report.update.cpu_why if report.update is not None else "") or (own.why if own is not None else ""),
        shipped=_shipped(report),
    )


def check_sources(settings: Settings, given: Mapping[str, Any], where: str) -> None:
    """Raises ``BadInput`` naming the bundle ``where`` for samples that it was made with, by a path from the working
    directory, and that are not there; of those that are ``given`` the reader of samples says so.
    """
    for name in ("data", "eval_data"):
        value = getattr(settings, name)
        if name in given or value in (None, "random") or not from_files(value) or Path(value).exists():
            continue
        option = f"--{name.replace('_', '-')}"
        raise BadInput(
            f"{option} {value}, which it was made with, is not there",
            where=where,
            expected="a path from the working directory, as it was given then",
            fix=f"run this in the folder where the bundle was made, or name the samples with {option}",
        )


def _form(bundle: Bundle, folder: Path) -> KeptForm | None:
    """The form whose plan lies in ``folder``."""
    if not (folder / PLAN).is_file():
        return None
    plan = read_json(folder / PLAN, PrecisionPlan)
    if not (folder / TABLE).is_file() or not (folder / CHOICES).is_file():
        return KeptForm(plan)
    table, choices = CalibrationTable.load(folder / TABLE), read_json(folder / CHOICES, Choices)
    return KeptForm(plan, Known(bundle.path.name, plan, table, choices))


def _shipped(report: Report) -> dict[str, str]:
    found = ((name, target) for name, target in report.targets.items() if target.engine and target.latency_ms)
    return {name: target.kept_precision for name, target in found if target.kept_precision}


def _quantized(plan: PrecisionPlan) -> bool:
    return any(node.dtype.quantized for node in plan.nodes.values())
