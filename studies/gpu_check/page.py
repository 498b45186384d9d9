"""The page of one GPU check, in Markdown: what ran where, how accurate, how fast, and what did not run and why."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.roofline.prediction import Prediction
from studies.gpu_check.check import CandidateResult
from studies.gpu_check.measure import SpeedRow
from studies.gpu_check.runtimes import CAPTURED, RuntimeResult


@dataclass(frozen=True)
class Conditions:
    """Where and when: all of it goes on the page. ``versions`` are package -> version."""

    date: str
    gpu: str
    compute_capability: str
    driver: str
    reference: str
    data: str
    energy: str
    versions: dict[str, str]


@dataclass(frozen=True)
class ModelResult:
    """One model: every way it was run in, and what was predicted for this board (None where its rates are unknown)."""

    model: str
    digest: str
    ways: list[CandidateResult]
    prediction: Prediction | None = None


def page(conditions: Conditions, results: Sequence[ModelResult], runtimes: Sequence[RuntimeResult] = ()) -> str:
    """The Markdown text."""
    blocks = [_head(conditions), *_runtimes(runtimes)]
    for result in results:
        blocks += [_model(result), *(_candidate(way) for way in result.ways)]
    return "\n\n".join(blocks) + "\n"


def _model(result: ModelResult) -> str:
    text = f"## {result.model}\n\nSHA-256 {result.digest[:16]}."
    found = result.prediction
    if found is None:
        return f"{text} No prediction: the peak rates of this board are not listed."
    generation = "" if found.checked else ", unchecked on this GPU generation"
    return (
        f"{text} **Predicted, not measured** ({found.gpu}, roofline{generation}): "
        f"{found.latency_ms:.3g} ms ± {found.latency_error_percent:.0f} % at batch 1, "
        f"{found.throughput:,.0f} samples/s ± {found.error_percent:.0f} % at batch {found.batch}, {found.bound} bound. "
        "Device time of the copies is not part of it."
    )


def _head(c: Conditions) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in sorted(c.versions.items()))
    rows = [
        ("Date", c.date),
        ("GPU", f"{c.gpu} ({c.compute_capability}), driver {c.driver}"),
        ("FP32 reference", c.reference),
        ("Data", c.data),
        ("Energy", c.energy),
        ("Versions", versions),
    ]
    note = (
        "Host latency is one `infer` call with copies. Device times lie between CUDA events. Throughput keeps every "
        "slot in flight. Energy is the whole board's over the throughput run. Accuracy is against FP32 on ONNX Runtime."
    )
    return f"# {c.gpu}, {c.date}\n\n{_table(('what', 'value'), rows)}\n\n{note}"


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


def _candidate(result: CandidateResult) -> str:
    blocks = [f"### {result.name}"]
    if result.failure:
        blocks.append(f"**Stopped:** {result.failure}")
    if result.notes:
        blocks.append("\n".join(f"- {note}" for note in result.notes))
    if result.build_seconds is not None and result.engine_bytes is not None:
        blocks.append(f"Built in {result.build_seconds:.1f} s, {result.engine_bytes / 1e6:.1f} MB.")
    blocks += [*_accuracy(result), *_speed("Speed with CUDA graphs", result.with_graphs)]
    title = "Speed without CUDA graphs" if result.with_graphs else "Speed"
    return "\n\n".join([*blocks, *_speed(title, result.without_graphs), *_loadgen(result)])


def _accuracy(result: CandidateResult) -> list[str]:
    if result.accuracy is None:
        return []
    rows = [
        (
            name,
            f"{o.cosine:.6f}",
            f"{o.sqnr_db:.1f}",
            f"{o.max_abs:.3g}",
            f"{100 * o.agreement:.2f} % ({o.agreement_kind})",
            o.failure or "-",
        )
        for name, o in result.accuracy.outputs.items()
    ]
    head = ("output", "cosine", "SQNR dB", "max abs", "agreement", "failure")
    return [f"#### Accuracy, {result.accuracy.samples} samples", _table(head, rows)]


def _speed(title: str, rows: Sequence[SpeedRow]) -> list[str]:
    if not rows:
        return []
    head = ("batch", "host p50 ms", "host p99 ms", "copy in ms", "compute ms", "copy out ms", "samples/s", "J/sample")
    return [f"#### {title}", _table(head, [_speed_row(row) for row in rows])]


def _speed_row(row: SpeedRow) -> tuple[str, ...]:
    device = row.device
    device_times = (device.copy_in_ms, device.compute_ms, device.copy_out_ms) if device else (None, None, None)
    joules = "-" if row.joules_per_sample is None else f"{row.joules_per_sample:.4g}"
    return (
        str(row.batch),
        f"{row.host.p50:.3f}",
        f"{row.host.p99:.3f}",
        *("-" if value is None else f"{value:.3f}" for value in device_times),
        f"{row.samples_per_s:.0f}",
        joules,
    )


def _loadgen(result: CandidateResult) -> list[str]:
    if not result.loadgen:
        return []
    rows = [
        (
            run.scenario.value,
            "valid" if run.valid else "INVALID",
            "-" if run.value is None else f"{run.value:.4g} {run.unit} ({run.metric})",
            str(run.samples),
            "; ".join(run.reasons) or "-",
        )
        for run in result.loadgen
    ]
    return [
        "#### MLPerf LoadGen (not an MLPerf result: nothing was reviewed)",
        _table(("scenario", "verdict", "result", "samples", "reasons"), rows),
    ]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [_line(head), _line(["---"] * len(head)), *(_line(row) for row in rows)]
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
