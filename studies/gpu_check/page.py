"""The page of one GPU check, in Markdown: what the main job's reports say of the engines that ran on the GPU."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.report.model import FormSummary, LoadgenSummary, OutputFidelity, Report, TargetSummary
from benchmarks.roofline.prediction import Prediction
from studies.gpu_check.runtimes import CAPTURED, RuntimeResult


@dataclass(frozen=True)
class Conditions:
    """Where and when: all of it goes on the page. ``versions`` are package -> version."""

    date: str
    gpu: str
    compute_capability: str
    driver: str
    versions: dict[str, str]


@dataclass(frozen=True)
class Ran:
    """One model: its report, or why there is none."""

    name: str
    report: Report | None
    failure: str = ""


def page(conditions: Conditions, models: Sequence[Ran], runtimes: Sequence[RuntimeResult] = ()) -> str:
    """The Markdown text."""
    blocks = [_head(conditions), *_runtimes(runtimes)]
    for model in models:
        blocks += _model(model)
    return "\n\n".join(blocks) + "\n"


def _head(c: Conditions) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in sorted(c.versions.items()))
    rows = [
        ("Date", c.date),
        ("GPU", f"{c.gpu} ({c.compute_capability}), driver {c.driver}"),
        ("Versions", versions),
    ]
    note = (
        "From the reports of the main job (`optimize MODEL.onnx`). Latency is one sample with its copies, throughput "
        "the batch the profile is tuned for, two in flight; device times lie between CUDA events, one sample, or the "
        "batch, in flight. Really INT8 are, of the nodes planned so, those that the layer table shows so. Energy is "
        "the whole board's. Accuracy is the engine's own against FP32 on ONNX Runtime."
    )
    return f"# {c.gpu}, {c.date}\n\n{_table(('what', 'value'), rows)}\n\n{note}"


def _model(model: Ran) -> list[str]:
    if model.report is None:
        return [f"## {model.name}", f"**Stopped:** {model.failure}"]
    report = model.report
    made = f"`{_anywhere(report.command)}`, {report.model.digest[:16]}: " if report.command else ""
    blocks = [f"## {model.name}", f"{report.model.name}, {made}{report.status}."]
    for name, target in report.targets.items():
        if target.backend != "onnxruntime" or target.forms:  # not the CPU's
            blocks += _target(name, target, report.loadgen.get(name, {}))
    warnings = "\n".join(f"- {warning}" for warning in report.warnings)
    return [*blocks, *([f"Warnings:\n\n{warnings}"] if warnings else [])]


def _anywhere(command: str) -> str:
    """``command`` with absolute paths, which only this machine has, relative to where it runs, or by name alone."""

    def told(found: re.Match[str]) -> str:
        path = Path(found["path"])
        name = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path.name
        return f"{found['quote']}{name}{found['quote']}"

    return re.sub(r"""(?P<quote>['"])(?P<path>/[^'"]+)(?P=quote)""", told, command)


def _target(name: str, target: TargetSummary, runs: Mapping[str, LoadgenSummary]) -> list[str]:
    blocks = [f"### {name}: {target.title}"]
    if target.status != "measured":
        return [*blocks, f"**{target.status}:** {target.reason}", *_prediction(target.prediction)]
    said = [f"Ships in {target.kept_precision}: {target.why}." if target.why else f"Ships in {target.kept_precision}."]
    if target.int8_native is not None:
        said.append(f"Of the nodes planned in INT8, {target.int8_native:.1%} are in INT8 in the layer table.")
    if target.steadiness is not None and not target.steadiness.trusted:
        said.append(f"Timings are not to be trusted: {'; '.join(target.steadiness.reasons)}.")
    blocks += [" ".join(said), _forms(target), *_prediction(target.prediction), *_loadgen(runs)]
    notes = "\n".join(f"- {note}" for note in target.notes)
    return [*blocks, *([notes] if notes else [])]


def _forms(target: TargetSummary) -> str:
    head = (
        *("form", "p50 ms", "p99 ms", f"samples/s at {target.batch}", "inferences/J"),
        *("copy in ms", "compute ms", "copy out ms", f"compute ms at {target.batch}", "really INT8"),
        *("SQNR dB", "task", "MB", "build s"),
    )
    return _table(head, [_form(name, form) for name, form in target.forms.items()])


def _form(name: str, form: FormSummary) -> tuple[str, ...]:
    if form.failed:
        return (name, f"**{form.failed}**", *["-"] * 12)
    latency = form.latency_ms
    return (
        name,
        *(_number(value, ".3f") for value in ((latency.p50, latency.p99) if latency else (None, None))),
        _number(form.throughput, ",.0f"),
        _number(form.inferences_per_joule, ",.1f"),
        *(_number(value, ".3f") for value in (form.copy_in_ms, form.compute_ms, form.copy_out_ms)),
        _number(form.batch_compute_ms, ".3f"),
        _number(form.int8_native, ".1%"),
        _number(_worst(form.accuracy), ".1f"),
        f"{form.task.metric} {form.task.optimized:.4f}, FP32 {form.task.fp32:.4f}" if form.task else "-",
        _number(form.engine_bytes / 1e6 if form.engine_bytes else None, ".1f"),
        _number(form.build_seconds, ".1f"),
    )


def _worst(accuracy: Mapping[str, OutputFidelity] | None) -> float | None:
    found = [output.sqnr_db for output in (accuracy or {}).values() if output.sqnr_db is not None]
    return min(found, default=None)


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else f"{value:{form}}"


def _prediction(found: Prediction | None) -> list[str]:
    if found is None:
        return []
    generation = "" if found.checked else ", unchecked on this GPU generation"
    return [
        f"**Predicted** ({found.gpu}, roofline{generation}): "
        f"{found.latency_ms:.3g} ms ± {found.latency_error_percent:.0f} % at batch 1, "
        f"{found.throughput:,.0f} samples/s ± {found.error_percent:.0f} % at batch {found.batch}, {found.bound} bound. "
        "Copies are not part of it."
    ]


def _loadgen(runs: Mapping[str, LoadgenSummary]) -> list[str]:
    if not runs:
        return []
    rows = [
        (
            scenario,
            "valid" if run.valid else "INVALID",
            "-" if run.value is None else f"{run.value:.4g} {run.unit} ({run.metric})",
            str(run.samples),
            "; ".join(run.reasons) or "-",
        )
        for scenario, run in runs.items()
    ]
    table = _table(("scenario", "verdict", "result", "samples", "reasons"), rows)
    return ["MLPerf LoadGen (not an MLPerf result: nothing was reviewed):", table]


def _runtimes(results: Sequence[RuntimeResult]) -> list[str]:
    """The section on the CUDA runtimes; a runtime that is not usable here has its reason below the table."""
    if not results:
        return []
    head = ("runtime", "to device GB/s", "to host GB/s", "on device GB/s", f"{CAPTURED} calls us", "graph us", "shares")
    rows = [
        (
            f"{result.name}, CUDA {result.driver}",
            *(f"{x:.1f}" for x in (result.to_device_gb_s, result.to_host_gb_s, result.on_device_gb_s, result.calls_us)),
            "none" if result.graph_us is None else f"{result.graph_us:.1f}",
            ", ".join(result.shared) or "-",
        )
        for result in results
        if not result.failure
    ]
    note = (
        "Pinned copies of 64 MiB between CUDA events, checked byte by byte; on the device, bytes read and written. "
        f"{CAPTURED} small copies issued one by one and as one CUDA graph, waited for each time, host time. "
        "Libraries whose arrays went in and out without a copy."
    )
    stopped = [f"- {result.name}: {result.failure}" for result in results if result.failure]
    blocks = ["## CUDA runtimes", note, *([_table(head, rows)] if rows else [])]
    return [*blocks, *(["\n".join(stopped)] if stopped else [])]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [_line(head), _line(["---"] * len(head)), *(_line(row) for row in rows)]
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
