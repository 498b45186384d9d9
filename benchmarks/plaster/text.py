"""The study in a terminal: seven lines, one column per variant, and whether the timings can be trusted."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks.plaster.study import Study
from benchmarks.report import formats
from benchmarks.report.model import PlasterFigure
from benchmarks.report.page import PLASTER


def show_study(study: Study, console: Console, folder: Path) -> None:
    """Print the study. Names from a model are printed as they are, never read as rich markup."""
    head = f"{study.model} on {study.target}, {study.samples} held-back samples"
    console.print(Text(head, "bold"))
    if not study.calibrated:
        console.print(Text("NOT CALIBRATED: INT8 ranges come from synthetic inputs; give --data PATH", "bold red"))
    console.print(_table(study))
    for name, steadiness in study.steadiness.items():
        for engine, ratio in steadiness.speedup.items():
            text = f"{engine}: {ratio.value:.2f}x of {steadiness.baseline} (95 % interval {ratio.low:.2f} to "
            console.print(f" {name}  {text}{ratio.high:.2f}, {ratio.pairs} pairs)", markup=False, highlight=False)
        for reason in steadiness.reasons:
            console.print(Text(f" {name}  {reason}", "yellow"))
    for variant in study.variants:
        for note in variant.notes:
            console.print(Text(f" {variant.title}: {note}", "dim"))
    energy = study.variants[0].plaster.energy
    if energy.value is None:
        console.print(Text(f" energy: {energy.how}", "dim"))
    console.print(f"\n page  {folder / 'plaster.html'}", markup=False, highlight=False)


def _table(study: Study) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 1), header_style="dim")
    table.add_column("")
    for variant in study.variants:
        table.add_column(Text(variant.title), justify="right", no_wrap=True)
    for letter, title in PLASTER:
        figures: list[PlasterFigure] = [getattr(variant.plaster, letter) for variant in study.variants]
        table.add_row(f"{title}, {figures[0].unit}", *[formats.significant(f.value, 4) for f in figures])
    return table
