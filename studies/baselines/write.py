"""Turn results into a page: ``python -m studies.baselines.write RESULTS -o docs/quantization.md``.

Every number is read from the cells that ``run.py`` wrote; what was not run says so.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path

from studies.baselines.names import MODELS
from studies.baselines.results import Cell, Evaluation, Quality, read_cells
from studies.baselines.tool import TOOLS, cells

OURS = "enginewright"
TENSORRT, CPU = (OURS, "tensorrt"), (OURS, "cpu")
BROKEN_DROP = 0.10
"""A model counts as broken where its metric falls by more than this, or no metric could be measured."""
NONE = "–"


def page(found: Sequence[Cell], intro: str) -> str:
    """The whole page, Markdown."""
    models = [name for name in MODELS if any(cell.model == name for cell in found)]
    parts = [intro.strip(), _conditions(found), "### At a glance", overview(found, models), _reading()]
    parts += ["### Which configurations survive", survival(found, models)]
    for model in models:
        parts += [f"### {model}", *model_part([cell for cell in found if cell.model == model])]
    if missing := [name for name in MODELS if name not in models]:
        parts.append(f"Not run: {', '.join(missing)}.")
    return "\n\n".join(parts) + "\n"


def overview(found: Sequence[Cell], models: Sequence[str]) -> str:
    """One row per model: our TensorRT form against the best baseline with as many MACs in INT8, and our CPU form."""
    head = ["model", "metric drop", "INT8 MACs", "SQNR", "best baseline's SQNR", "difference", "at any INT8 share"]
    head += ["CPU form", "fastest baseline"]
    return table(head, [_overview_row([cell for cell in found if cell.model == model], model) for model in models])


def _overview_row(found: Sequence[Cell], model: str) -> list[str]:
    evaluations = _evaluations(found)
    ours, cpu = evaluations.get(TENSORRT), evaluations.get(CPU)
    baselines = {key: item for key, item in evaluations.items() if key[0] != OURS}
    rival = best_baseline(baselines, ours.int8_mac_share if ours else 0.0)
    row = [model, NONE, NONE, NONE, NONE, NONE]
    if ours is not None:
        row[1:4] = [f"{ours.drop:+.4f}", f"{ours.int8_mac_share:.1%}", _db(ours.simulated)]
    if rival is not None:
        row[4] = f"{baselines[rival].simulated.sqnr_db:.1f} ({' '.join(rival)})"  # type: ignore[union-attr]
        if ours is not None and ours.simulated is not None:
            difference = ours.simulated.sqnr_db - baselines[rival].simulated.sqnr_db  # type: ignore[union-attr]
            row[5] = f"**{difference:+.1f} dB**" if difference >= 1 else f"{difference:+.1f} dB"
    return [*row, _at_any_share(baselines), _speed_and_quality(cpu), _fastest(baselines)]


def _at_any_share(baselines: dict[tuple[str, str], Evaluation]) -> str:
    rival = best_baseline(baselines, 0.0)
    if rival is None:
        return NONE
    return f"{_db(baselines[rival].simulated)} ({' '.join(rival)}, {baselines[rival].int8_mac_share:.0%})"


def best_baseline(baselines: dict[tuple[str, str], Evaluation], share: float) -> tuple[str, str] | None:
    """The baseline's configuration with the highest SQNR of those with at least ``share`` of the MACs in INT8."""
    able = {
        key: item.simulated.sqnr_db
        for key, item in baselines.items()
        if item.simulated is not None and not item.simulated.failure and item.int8_mac_share >= share - 1e-6
    }
    return max(able, key=lambda key: able[key]) if able else None


def _fastest(baselines: dict[tuple[str, str], Evaluation]) -> str:
    speeds = {key: item.speedup for key, item in baselines.items() if item.speedup is not None}
    if not speeds:
        return NONE
    key = max(speeds, key=lambda key: speeds[key])
    return f"{_speed_and_quality(baselines[key])} ({' '.join(key)})"


def _speed_and_quality(item: Evaluation | None) -> str:
    if item is None or item.speedup is None:
        return NONE
    return f"{item.speedup:.2f}×, {_db(item.cpu)} dB"


def survival(found: Sequence[Cell], models: Sequence[str]) -> str:
    """One row per configuration: the models it breaks, and its worst drop."""
    rows = []
    for key in _ordered(found):
        own = {cell.model: cell for cell in found if (cell.tool, cell.configuration) == key}
        drops = {name: cell.evaluation.drop for name, cell in own.items() if cell.evaluation is not None}
        broken = [name for name in models if name in own and (name not in drops or drops[name] > BROKEN_DROP)]
        worst = max(drops, key=lambda name: drops[name]) if drops else None
        said = f"{drops[worst]:+.4f} ({worst})" if worst else NONE
        rows.append([*key, f"{len(own)} of {len(MODELS)}", ", ".join(broken) or "none", said])
    return table(("tool", "configuration", "models run", "broken", "worst drop"), rows)


def model_part(found: Sequence[Cell]) -> list[str]:
    """What was measured on one model: a sentence, the table, and what went wrong."""
    done = next((cell.evaluation for cell in found if cell.evaluation is not None), None)
    parts = []
    if done is not None:
        parts.append(
            f"Metric: {done.metric_name}, FP32 {done.fp32_metric:.4f}. {_calibrated_on(found)}"
            f"SQNR and agreement on {done.held_back} held-back samples{_agreement_kind(found)}."
        )
    head = ["tool", "configuration", "metric", "drop", "SQNR", "agreement", "INT8 MACs", "symmetric"]
    head += ["CPU SQNR", "CPU speed", "seconds", "peak MB"]
    ordered = sorted(found, key=lambda cell: _ordered(found).index((cell.tool, cell.configuration)))
    parts.append(table(head, [row(cell) for cell in ordered]))
    notes = [f"- {cell.tool} {cell.configuration}: {text}" for cell in ordered for text in _troubles(cell)]
    return [*parts, "\n".join(notes)] if notes else parts


def row(cell: Cell) -> list[str]:
    """One row of a model's table; a cell that failed shows dashes, its reason stands below the table."""
    name, item = [cell.tool, cell.configuration], cell.evaluation
    cost = [f"{cell.cost.seconds:.1f}", f"{cell.cost.peak_mb:.0f}"] if cell.cost else [NONE, NONE]
    if item is None:
        return [*name, *[NONE] * 8, *cost]
    agreement = f"{item.simulated.agreement:.3f}" if item.simulated else NONE
    return [
        *name,
        f"{item.metric:.4f}",
        f"{item.drop:+.4f}",
        _db(item.simulated),
        agreement,
        f"{item.int8_mac_share:.0%}",
        "yes" if item.symmetric else "no",
        _db(item.cpu),
        f"{item.speedup:.2f}×" if item.speedup is not None else NONE,
        *cost,
    ]


def _troubles(cell: Cell) -> list[str]:
    texts = [cell.error] if cell.error else []
    if cell.evaluation is not None:
        texts += cell.evaluation.failures
        qualities = (cell.evaluation.simulated, cell.evaluation.cpu)
        texts += list(dict.fromkeys(quality.failure for quality in qualities if quality and quality.failure))
        speedup = cell.evaluation.speedup
        if (cell.tool, cell.configuration) == CPU and speedup is not None and speedup < 1:
            texts.append("slower than FP32 here: the command ships the CPU engine as FP32 and says so")
    return [" ".join(text.split()).replace("|", "\\|") for text in texts]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table. Raises ``ValueError`` for a row of another length than ``head``."""
    lines = [_line(head), _line(["---"] * len(head))]
    for cells_of_row in rows:
        if len(cells_of_row) != len(head):
            raise ValueError(f"a row of {len(cells_of_row)} cells under {len(head)} headings")
        lines.append(_line(cells_of_row))
    return "\n".join(lines)


def _line(values: Sequence[str]) -> str:
    return f"| {' | '.join(values)} |"


def _db(quality: Quality | None) -> str:
    if quality is None or quality.failure:
        return NONE
    return f"{quality.sqnr_db:.1f}"


def _evaluations(found: Sequence[Cell]) -> dict[tuple[str, str], Evaluation]:
    return {(cell.tool, cell.configuration): cell.evaluation for cell in found if cell.evaluation is not None}


def _ordered(found: Sequence[Cell]) -> list[tuple[str, str]]:
    present = {(cell.tool, cell.configuration) for cell in found}
    return [key for key in cells(TOOLS) if key in present] + sorted(present - set(cells(TOOLS)))


def _calibrated_on(found: Sequence[Cell]) -> str:
    counts = sorted({cell.cost.samples for cell in found if cell.cost is not None})
    return f"Calibrated on {' or '.join(map(str, counts))} feeds. " if counts else ""


def _agreement_kind(found: Sequence[Cell]) -> str:
    kinds = {
        cell.evaluation.simulated.agreement_kind for cell in found if cell.evaluation and cell.evaluation.simulated
    }
    return f" (agreement: {', '.join(sorted(kinds))})" if kinds else ""


def _conditions(found: Sequence[Cell]) -> str:
    """When, where and with what; several values where cells differ."""
    machines = [cell.machine for cell in found]
    versions = sorted({f"{name} {version}" for machine in machines for name, version in machine.versions.items()})
    lines = [
        "## The comparison",
        "Same models, data, evaluator and machine for every tool. Made by (`studies/baselines/README.md`):",
        "```\npython -m studies.baselines.run --zoo ZOO --out RESULTS\n"
        "python -m studies.baselines.write RESULTS -o docs/quantization.md\n```",
        f"{' to '.join(_ends(machine.date for machine in machines))}, "
        f"{', '.join(sorted({f'{machine.cpu}, {machine.cores} cores' for machine in machines}))}, load average "
        f"{' to '.join(_ends(f'{machine.load_average:.1f}' for machine in machines))} when a cell began; "
        f"{', '.join(versions)}.",
    ]
    if any(cell.quick for cell in found):
        lines.append("**Some cells were run with `--quick`: a smoke test, not a measurement.**")
    return "\n\n".join(lines)


def _ends(values: Iterable[str]) -> list[str]:
    ordered = sorted(set(values))
    return [ordered[0]] if len(ordered) == 1 else [ordered[0], ordered[-1]]


def _reading() -> str:
    return (Path(__file__).with_name("reading.md")).read_text(encoding="utf-8").strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="folder that run.py wrote")
    parser.add_argument("-o", "--out", type=Path, required=True)
    arguments = parser.parse_args()
    found = read_cells(arguments.results)
    if not found:
        raise SystemExit(f"{arguments.results}: no *.cell.json, run studies.baselines.run first")
    intro = Path(__file__).with_name("intro.md").read_text(encoding="utf-8")
    arguments.out.write_text(page(found, intro), encoding="utf-8")


if __name__ == "__main__":
    main()
