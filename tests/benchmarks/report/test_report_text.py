"""The terminal summary: verdict first, 80 columns, plain where there is no terminal."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

from rich.console import Console

from benchmarks.report.model import OutputFidelity, Report
from benchmarks.report.text import summarise


def shown(report: Report, *, width: int = 80, terminal: bool = False) -> str:
    stream = io.StringIO()
    console = Console(file=stream, width=width, force_terminal=terminal, color_system="standard" if terminal else None)
    summarise(report, console, Path("mobilenetv2-12.optimized"))
    return stream.getvalue()


def test_the_verdict_is_the_first_line(report: Report) -> None:
    assert shown(report).splitlines()[0].startswith("Done for some targets only  mobilenetv2-12, int8")


def test_what_an_earlier_run_took_is_not_this_runs_time(report: Report) -> None:
    timed = dataclasses.replace(report, timings={"calibrate": 3000.0, "build t4": 12.0})
    assert shown(timed).splitlines()[0].endswith("50 min 12 s")
    assert shown(dataclasses.replace(timed, kept=["calibrate"])).splitlines()[0].endswith("12.0 s")


def test_no_line_is_longer_than_80_columns_and_no_figure_is_cut(report: Report) -> None:
    text = shown(report)
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    for figure in ("4.12 ms", "7.91 ms", "398 /s", "2.17×", "3.61 MiB", "28.6 dB", "27.1 dB *"):
        assert figure in text


def test_plain_without_a_terminal_and_coloured_with_one(report: Report) -> None:
    assert "\x1b" not in shown(report)
    assert "\x1b[" in shown(report, terminal=True)


def test_what_could_not_be_measured_names_its_command(report: Report) -> None:
    text = shown(report)
    assert "no T4 in this machine" in text
    assert "optimize bench mobilenetv2.optimized --target a100" in text


def test_an_invalid_run_says_why(report: Report) -> None:
    assert "INVALID, 412 samples/s throughput (The run lasted 7.1 s" in " ".join(shown(report).split())


def test_the_bundle_is_named_last(report: Report) -> None:
    assert "mobilenetv2-12.optimized/report.html" in shown(report).splitlines()[-1]


def test_uncalibrated_is_shouted(report: Report) -> None:
    assert "NOT CALIBRATED" in shown(dataclasses.replace(report, calibrated=False))
    assert "NOT CALIBRATED" not in shown(report)


def test_square_brackets_in_names_are_text(report: Report) -> None:
    model = dataclasses.replace(report.model, name="[red]net[/red]")
    assert "[red]net[/red]" in shown(dataclasses.replace(report, model=model, warnings=["[bold]x"]))


def test_an_output_that_failed_says_how_and_shows_no_figures(report: Report) -> None:
    assert report.accuracy is not None
    failed = OutputFidelity(0.0, -200.0, None, 0.1, "same arg-max", "3 values are NaN")
    accuracy = dataclasses.replace(report.accuracy, outputs={"logits": failed})
    text = shown(dataclasses.replace(report, accuracy=accuracy))
    assert "logits: 3 values are NaN" in text
    assert "-200" not in text
