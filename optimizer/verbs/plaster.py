"""``optimize plaster``: one model in several precisions, measured side by side, as the seven PLASTER figures."""

from __future__ import annotations

import platform
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.measurement import utc_now
from benchmarks.plaster.figures import Learning, NativeOps
from benchmarks.plaster.measure import Say, StudyData, StudySettings, measure_variants
from benchmarks.plaster.page import render_study
from benchmarks.plaster.study import STUDY_FILE, Prepared, Study
from benchmarks.published.results import published_results
from benchmarks.report.model import Report
from engines.build import BuildRequest, build_engine
from engines.engine import Feed
from engines.manifest import EngineManifest
from engines.open import open_engine
from engines.profile import parse_shape_profiles
from engines.targets.gpus_here import detect_gpus, name_of_target, native_target, used_gpu
from engines.targets.target import CPU, NATIVE
from graphs.errors import BadInput
from graphs.files import to_json, write_together
from optimizer.bundle import Bundle
from optimizer.events import Listener
from optimizer.importing import import_model
from optimizer.machine import cpu_name
from optimizer.main_job import optimize
from optimizer.settings.job import Settings
from optimizer.settings.numbers_given import check_above_zero, check_not_negative
from optimizer.settings.options import Precision, Sparsity
from optimizer.stages.data.inputs import Inputs, open_inputs
from optimizer.stages.reference import opened_reference
from optimizer.stages.report.plaster_figures import making_seconds
from optimizer.version import tool_versions

PAGE_FILE = "plaster.html"
FP16_ON_CPU = "ONNX Runtime has no FP16 kernels on this processor and computes them in FP32 between casts"


@dataclass(frozen=True)
class VariantKind:
    """A precision with a name and a title."""

    name: str
    title: str
    precision: Precision
    sparsity: Sparsity = Sparsity.NONE


VARIANTS = {
    kind.name: kind
    for kind in (
        VariantKind("fp32", "FP32", Precision.FP32),
        VariantKind("fp16", "FP16", Precision.FP16),
        VariantKind("int8", "INT8", Precision.INT8),
        VariantKind("int8-2:4", "INT8 + 2:4", Precision.INT8, Sparsity.TWO_FOUR),
    )
}


def plaster_study(
    model: Path,
    settings: Settings,
    measuring: StudySettings,
    out: Path,
    *,
    variants: Sequence[str] = tuple(VARIANTS),
    task: str = "",
    force: bool = False,
    listeners: Sequence[Listener] = (),
    say: Say = lambda _: None,
    command: str = "",
) -> Study:
    """Make a bundle per variant under ``out``, measure them in one interleaved run, and write ``plaster.json`` and
    ``plaster.html`` there. The target is the first of ``settings.targets`` (``cpu`` or ``native``), by default the GPU
    of this machine, else its CPU. ``task`` names an MLPerf task whose published results are shown beside;
    ``command`` made the study.

    Raises ``BadInput`` for an unknown variant, task, or a target that does not run here.
    """
    check_above_zero({"--batch": measuring.batch, "--seconds": measuring.seconds, "--bound": measuring.bound_ms})
    check_not_negative({"--duration": measuring.duration})
    kinds = [_kind(name) for name in variants]
    published = published_results(task) if task else []
    target = _target(settings.targets)
    imported = import_model(model)
    inputs = open_inputs(settings, imported, parse_shape_profiles(settings.shapes)[0])
    prepared = [_prepare(model, kind, settings, target, inputs, out, force, listeners, say) for kind in kinds]
    with opened_reference(imported, float_products=True) as reference:
        if reference.refusal:
            say(f"the imported graph stands for the file, which does not run: {reference.refusal}")
        data = StudyData(reference.engine, inputs.held_back.samples, settings.evaluate, imported.bytes)
        gpu = used_gpu() if target != CPU.name else None
        found, steadiness = measure_variants(
            prepared, data, replace(measuring, gpu_index=gpu.index if gpu is not None else None), out / ".measure", say
        )
    study = Study(
        model=imported.path.name,
        digest=imported.digest,
        model_bytes=imported.bytes,
        target=target,
        variants=found,
        steadiness=steadiness,
        samples=len(inputs.held_back),
        data=inputs.held_back.description,
        calibrated=inputs.calibrated,
        bound_ms=measuring.bound_ms,
        task=task,
        published=published,
        machine={"cpu": cpu_name(), **{f"gpu {gpu.index}": gpu.name for gpu in detect_gpus()}},
        versions=tool_versions(),
        created=utc_now(),
        command=command,
    )
    write_together(out, {STUDY_FILE: to_json(study), PAGE_FILE: render_study(study).encode()})
    return study


def _kind(name: str) -> VariantKind:
    if name not in VARIANTS:
        raise BadInput(f"unknown variant {name!r}", where="--variants", expected=f"one of {', '.join(VARIANTS)}")
    return VARIANTS[name]


def _target(asked: Sequence[str]) -> str:
    """The name of the one target that is measured; ``native`` becomes that of the GPU here."""
    native = native_target()
    wanted = asked or ((NATIVE,) if native else (CPU.name,))
    if len(wanted) > 1 or wanted[0] not in (CPU.name, NATIVE, native.name if native else CPU.name):
        raise BadInput(
            f"cannot measure on {', '.join(wanted)}", where="--target", expected="cpu, or native for the GPU here"
        )
    return CPU.name if wanted[0] == CPU.name else name_of_target(NATIVE)


def _prepare(
    model: Path,
    kind: VariantKind,
    settings: Settings,
    target: str,
    inputs: Inputs,
    out: Path,
    force: bool,
    listeners: Sequence[Listener],
    say: Say,
) -> Prepared:
    """The variant's bundle and engine, and how long new weights took to serve."""
    say(f"{kind.title}: making the bundle")
    job = replace(
        settings,
        precision=kind.precision,
        sparsity=kind.sparsity,
        targets=(target if target == CPU.name else NATIVE,),
        loadgen=(),
        cpu_form="int8" if kind.precision is Precision.INT8 else "auto",
        gpu_form="asked",
    )
    folder = out / kind.name.replace(":", "")
    result = optimize(model, settings=job, out=folder, force=force, listeners=listeners)
    engine = _engine_folder(Bundle(result.bundle), kind, target, out)
    feed = next(inputs.held_back.samples())
    serving = _first_answer(engine, feed)
    start = time.perf_counter()
    optimize(model, settings=job, out=folder)
    cached = time.perf_counter() - start + _first_answer(engine, feed)
    native, notes = _native(result.report, kind, target)
    return Prepared(
        name=kind.name,
        title=kind.title,
        dtype=kind.precision.value,
        ran=f"{_shipped(result.report, kind, target)} in {_backend(engine)}",
        folder=str(engine),
        engine_bytes=EngineManifest.load(engine).bytes,
        native=native,
        flags=[f"--shape {shape}" for shape in settings.shapes],
        learning=Learning(
            making_seconds(result.report.timings) + serving,
            cached,
            cold_why="import, calibration, typing, accuracy check, build, load",
            cached_why="the same weights again: bundle found, engine loaded",
        ),
        notes=[*notes, *result.report.verdict.reasons],
    )


def _engine_folder(bundle: Bundle, kind: VariantKind, target: str, out: Path) -> Path:
    """The bundle's engine; on the CPU, where bundles ship FP32 for FP16, an engine of the typed graph itself."""
    directory = bundle.engine_directory(target)
    if target != CPU.name or kind.precision is not Precision.FP16:
        return directory
    made = out / ".measure" / "fp16"
    shutil.rmtree(made, ignore_errors=True)  # an earlier study's may be of another model, or of other settings
    profile = EngineManifest.load(directory).profile
    build_engine(BuildRequest(bundle.path / "model.onnx", CPU, profile, made, precision=kind.precision.value))
    return made


def _first_answer(folder: Path, feed: Feed) -> float:
    """Seconds to open an engine and run it once."""
    start = time.perf_counter()
    with open_engine(folder) as engine:
        engine.infer(feed)
    return time.perf_counter() - start


def _native(report: Report, kind: VariantKind, target: str) -> tuple[NativeOps, list[str]]:
    nodes = sum(report.precision.nodes.values())
    if target == CPU.name and kind.precision is Precision.FP16 and platform.machine() in ("x86_64", "AMD64"):
        half = report.precision.nodes.get("fp16", 0)
        return NativeOps(nodes, nodes - half, f"{half} FP16 nodes computed in FP32"), [FP16_ON_CPU]
    share = report.plaster.programmability.details.get(f"{target}_share") if report.plaster else None
    return NativeOps(nodes, round(nodes * share) if share is not None else nodes), _sparse_note(kind, target)


def _sparse_note(kind: VariantKind, target: str) -> list[str]:
    if kind.sparsity is Sparsity.NONE or target != CPU.name:
        return []
    return ["no CPU kernel skips 2:4 zeros: the same speed as INT8 is expected; sparse tensor cores start with A100"]


def _shipped(report: Report, kind: VariantKind, target: str) -> str:
    if target == CPU.name and kind.precision is Precision.FP16:
        return "the FP16 typed graph"
    kept = report.targets[target].kept_precision or kind.precision.value
    return kept.upper()


def _backend(folder: Path) -> str:
    manifest = EngineManifest.load(folder)
    return f"{manifest.backend} {manifest.backend_version}"
