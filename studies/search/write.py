"""Turn results into a page: ``python -m studies.search.write RESULTS -o docs/search.md``.

Every number of its tables is read from what ``run.py`` wrote; date and machine are those of the writing.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from benchmarks.report.formats import size
from benchmarks.timing.conditions import read_conditions
from graphs.files import read_json
from studies.baselines.names import MODELS
from studies.baselines.write import table
from studies.search.results import Trial

INTRO = Path(__file__).parent / "intro.md"
MISLED = 1.5
"""The proxy misled where the metric lost this many times the budget or more, on labels nobody had looked at."""
NONE = "–"


def page(trials: Sequence[Trial], conditions: str) -> str:
    """The whole page, Markdown."""
    by_metric = [trial for trial in trials if trial.labelled]
    by_proxy = [trial for trial in trials if not trial.labelled]
    parts = [INTRO.read_text().strip(), "## Seven models", conditions, "### By the metric", metric_table(by_metric)]
    parts += [_reading(by_metric), "### Without labels", proxy_table(by_proxy), _misled(by_proxy)]
    parts += ["### The trade", "What was measured of each model; *n* numbers its plan, the chosen one is bold."]
    for trial in by_metric:
        parts += [f"#### {trial.model}", pareto_table(trial)]
    if missing := [name for name in MODELS if name not in {trial.model for trial in by_metric}]:
        parts.append(f"Not run: {', '.join(missing)}.")
    return "\n\n".join(parts) + "\n"


def metric_table(trials: Sequence[Trial]) -> str:
    head = ["model", "metric", "lost on the half searched by", "lost on the other half", "met there", "INT8 MACs"]
    head += ["verdict", "bound, 95 %", "forms", "search / calibration"]
    return table(head, [_metric_row(trial) for trial in trials])


def _metric_row(trial: Trial) -> list[str]:
    budget, search = trial.budget, trial.search
    took = search.seconds / trial.calibration_s if search is not None and trial.calibration_s else None
    return [
        trial.model,
        f"{trial.metric}, {trial.fp32[1]:.4f} in FP32",
        f"{trial.seen_drop:+.2%}",
        f"{trial.unseen_drop:+.2%}",
        "yes" if trial.unseen_drop <= trial.max_drop else "**no**",
        f"{trial.int8_mac_share:.1%}",
        budget.verdict.replace("_", " ") if budget is not None else NONE,
        f"{budget.upper:.2%}" if budget is not None and budget.upper is not None else NONE,
        str(len(search.points)) if search is not None else NONE,
        f"{took:.1f}" if took is not None else NONE,
    ]


def _reading(trials: Sequence[Trial]) -> str:
    met = sum(trial.unseen_drop <= trial.max_drop for trial in trials)
    high = sum(trial.int8_mac_share >= 0.9 for trial in trials)
    return (
        f"Met on the half that the search did not see: {met} of {len(trials)}. At least 90 % of the MACs in INT8: "
        f"{high} of {len(trials)}. Seconds of a search are those beside the first form, which is made in any case."
    )


def proxy_table(trials: Sequence[Trial]) -> str:
    """What was promised without labels (1 - cosine of the worst output) beside what became of the metric."""
    head = ["model", "INT8 MACs", "proxy: drop", "proxy: bound, 95 %", "metric lost, all labels unseen", "SQNR"]
    rows = [
        [
            trial.model,
            f"{trial.int8_mac_share:.1%}",
            f"{trial.budget.drop:.3%}" if trial.budget is not None else NONE,
            f"{trial.budget.upper:.3%}" if trial.budget is not None and trial.budget.upper is not None else NONE,
            f"{trial.seen_drop:+.2%} and {trial.unseen_drop:+.2%}",
            f"{trial.sqnr_db:.1f} dB",
        ]
        for trial in trials
    ]
    return table(head, rows)


def _misled(trials: Sequence[Trial]) -> str:
    wrong = [t for t in trials if max(t.seen_drop, t.unseen_drop) > MISLED * t.max_drop]
    if not wrong:
        return "The proxy misled on none of them: no metric lost more than one and a half times the budget."
    told = "; ".join(
        f"{t.model}: {t.metric} lost {max(t.seen_drop, t.unseen_drop):.1%} where the outputs' cosine promised "
        f"{t.budget.upper or t.budget.drop:.2%}"
        for t in wrong
        if t.budget is not None
    )
    return f"**The proxy misled** ({told}). A cosine says little of a metric that reads few of the values: give one."


def pareto_table(trial: Trial) -> str:
    """Every point that was measured."""
    if trial.search is None:
        return "Not searched: nothing could be quantized."
    targets = list(trial.search.points[0].latency_ms)
    head = [
        "n",
        "INT8 MACs",
        "drop",
        "bound, 95 %",
        "within",
        *(f"{name}, ms (predicted)" for name in targets),
        "graph",
    ]
    rows = []
    for number, point in enumerate(trial.search.points, start=1):
        row = [
            str(number) if point.plan else f"({number})",
            f"{point.int8_mac_share:.1%}",
            f"{round(point.drop, 4) + 0.0:+.2%}",
            f"{point.upper:.2%}" if point.upper is not None else NONE,
            "surely" if point.surely else "on the samples" if point.ok else "no",
            *(f"{point.latency_ms[name]:.3g}" for name in targets),
            size(point.bytes),
        ]
        rows.append([f"**{cell}**" for cell in row] if point.chosen else row)
    return table(head, rows)


def _conditions(trials: Sequence[Trial]) -> str:
    found = read_conditions()
    date = datetime.now(timezone.utc).strftime("%Y-%m-%d")
    budget = f"{100 * trials[0].max_drop:g}%" if trials else ""
    return (
        f"`--max-drop {budget} --target t4`, written {date}, {found.cpu}, {found.cores} cores: "
        "compare times as ratios, others may have used these cores. The search had one half of the labels; the "
        "other half was looked at when it was done. Engines for GPUs are simulated. By "
        "`python -m studies.baselines.fetch zoo`, `python -m studies.search.run --zoo zoo --out results` and "
        "`python -m studies.search.write results -o docs/search.md`."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    arguments = parser.parse_args()
    files = [arguments.results / f"{m}.{how}.json" for m in MODELS for how in ("labelled", "proxy")]
    trials = [read_json(file, Trial) for file in files if file.exists()]
    arguments.out.write_text(page(trials, _conditions(trials)), encoding="utf-8")


if __name__ == "__main__":
    main()
