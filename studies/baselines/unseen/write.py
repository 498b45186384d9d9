"""Turn results into a page: ``python -m studies.baselines.unseen.write RESULTS [--before EARLIER] -o docs/unseen.md``.

Every number is read from the cells that ``studies.baselines.run`` wrote; what was not run, or failed, says so.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from studies.baselines.names import HELD_OUT, TUNING
from studies.baselines.results import Cell, Evaluation, read_cells
from studies.baselines.unseen.recipes import RECIPES
from studies.baselines.write import NONE, OURS, TENSORRT, best_baseline, table

HEAD = [
    "model",
    "samples",
    "before",
    "INT8 MACs",
    "SQNR",
    "best baseline with as many MACs",
    "difference",
    "any baseline",
]


def page(found: Sequence[Cell], before: Sequence[Cell], intro: str) -> str:
    """The whole page, Markdown."""
    parts = [intro.strip()]
    for title, names in (("Tuning half", TUNING), ("Held-out half", HELD_OUT)):
        rows = [_row(name, _of(found, name), _of(before, name)) for name in names]
        parts += [f"## {title}", table(HEAD, [row for row in rows if row])]
        if missing := [name for name, row in zip(names, rows, strict=True) if not row]:
            parts.append(f"Not measured: {', '.join(missing)}.")
    parts += [
        "## The models",
        table(["model", "package", "what", "fed with"], [_recipe(n) for n in (*TUNING, *HELD_OUT)]),
    ]
    if failed := [cell for cell in found if cell.error]:
        parts += ["## What failed", "\n".join(_failure(cell) for cell in failed)]
    return "\n\n".join([*parts, _versions(found)]) + "\n"


def _of(cells: Sequence[Cell], name: str) -> dict[tuple[str, str], Evaluation]:
    return {
        (cell.tool, cell.configuration): cell.evaluation
        for cell in cells
        if cell.model == name and cell.evaluation is not None
    }


def _row(
    name: str, found: Mapping[tuple[str, str], Evaluation], before: Mapping[tuple[str, str], Evaluation]
) -> list[str]:
    """Empty where ours was not measured."""
    ours = found.get(TENSORRT)
    if ours is None or ours.simulated is None:
        return []
    baselines = {key: item for key, item in found.items() if key[0] != OURS}
    rival = best_baseline(baselines, ours.int8_mac_share)
    difference = NONE
    if rival is not None:
        gain = ours.simulated.sqnr_db - _sqnr(baselines[rival])
        difference = f"**{gain:+.1f} dB**" if gain >= 1 else f"{gain:+.1f} dB"
    return [
        name,
        str(ours.held_back),
        _short(before.get(TENSORRT)),
        f"{ours.int8_mac_share:.1%}",
        f"{ours.simulated.sqnr_db:.1f}",
        _named(baselines, rival),
        difference,
        _named(baselines, best_baseline(baselines, 0.0)),
    ]


def _sqnr(item: Evaluation) -> float:
    return item.simulated.sqnr_db if item.simulated is not None else float("-inf")


def _short(item: Evaluation | None) -> str:
    return f"{_sqnr(item):.1f} at {item.int8_mac_share:.1%}" if item is not None else NONE


def _named(baselines: Mapping[tuple[str, str], Evaluation], key: tuple[str, str] | None) -> str:
    return f"{_short(baselines[key])} ({' '.join(key)})" if key is not None else NONE


def _recipe(name: str) -> list[str]:
    recipe = RECIPES[name]
    return [name, recipe.package, recipe.what, recipe.inputs]


def _failure(cell: Cell) -> str:
    """Without the folders of the machine it failed on."""
    error = re.sub(r"/\S*/", "", cell.error)
    return f"- {cell.model}, {cell.tool} {cell.configuration}: {error[:200]}"


def _versions(found: Sequence[Cell]) -> str:
    """Ours and others may have run in environments of their own: the versions of each."""
    dates = sorted({cell.machine.date for cell in found})
    ours = _listed([cell for cell in found if cell.tool == OURS])
    others = _listed([cell for cell in found if cell.tool != OURS])
    with_what = f"ours with {ours}; the others with {others}" if ours != others else ours
    return f"Measured {' to '.join(dict.fromkeys([dates[0], dates[-1]]))}: {with_what}."


def _listed(found: Sequence[Cell]) -> str:
    versions: dict[str, set[str]] = {}
    for cell in found:
        for name, version in cell.machine.versions.items():
            versions.setdefault(name, set()).add(version)
    return ", ".join(f"{name} {' and '.join(sorted(each))}" for name, each in sorted(versions.items())) or "nothing"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("--before", type=Path, help="results of an earlier commit, for the column `before`")
    parser.add_argument("-o", "--out", type=Path, required=True)
    arguments = parser.parse_args()
    intro = (Path(__file__).parent / "intro.md").read_text("utf-8")
    before = read_cells(arguments.before) if arguments.before else []
    arguments.out.write_text(page(read_cells(arguments.results), before, intro), "utf-8")


if __name__ == "__main__":
    main()
