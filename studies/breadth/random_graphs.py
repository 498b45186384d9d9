"""Random graphs through the product: ``python -m studies.breadth.random_graphs --count 1000 --out FOLDER``.

Every seed is one model (``drawing.draw``), one precision and one set of targets; a row a model goes to
``FOLDER/rows.jsonl``, and a run that is begun again goes on where it stopped. ``--seeds 17 --keep`` runs one again and
leaves its files; ``--minimise`` leaves out steps for as long as the outcome stays.

There are two drawings. Layers of the first, whose rows are named ``17``, are so narrow that rule 11 leaves them in
float: they try what surrounds INT8. ``--wide`` is the second, whose rows are named ``w17``: layers of 16 to 48
channels, mostly at INT8.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from studies.breadth import drawing
from studies.breadth.draft import Rejected
from studies.breadth.row import Outcome, Row, append, read
from studies.breadth.trial import Trial, run, warm_up

STUDY = "random graphs"
PRECISIONS = ("int8",) * 5 + ("fp16",) * 3 + ("fp32", "auto", "bf16")
WIDE_PRECISIONS = ("int8",) * 7 + ("auto",) * 2 + ("fp16",) * 2
GPU_EVERY = 12
"""One model in so many is also built for GPUs and measured as a user's is: that takes as long as all the rest."""
LIMIT_S = 90.0  # seconds a run of one graph may take


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000, help="seeds 0 to COUNT - 1")
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--seeds", type=int, nargs="*", help="these seeds instead, whatever was run before")
    parser.add_argument("--wide", action="store_true", help="layers wide enough to be INT8")
    parser.add_argument("--out", type=Path, default=Path("random-graphs"))
    parser.add_argument("--keep", action="store_true", help="leave the files of every model")
    parser.add_argument("--minimise", action="store_true", help="reduce each finding to the steps it needs")
    asked = parser.parse_args(arguments)
    rows = asked.out / "rows.jsonl"
    warm_up()
    done = set() if asked.seeds else {row.name for row in read(rows)}
    for seed in asked.seeds or range(asked.first, asked.first + asked.count):
        name = _name(seed, asked.wide)
        if name in done:
            continue
        for row in trials(seed, asked.out / "models" / name, asked.minimise, wide=asked.wide):
            append(rows, row)
            print(f"{row.outcome.name:8} {row.name} {row.precision} {row.seconds:.1f} s  {row.reason}", flush=True)
        if not asked.keep:
            shutil.rmtree(asked.out / "models" / name, ignore_errors=True)
    return 0


def _name(seed: int, wide: bool) -> str:
    return f"w{seed}" if wide else str(seed)


def trials(seed: int, folder: Path, minimise: bool = False, *, wide: bool = False) -> Iterator[Row]:
    """The row of one seed; none where nothing could be drawn from it."""
    try:
        drawn = drawing.draw(seed, wide=wide)
    except Rejected:
        return
    row = _tried(seed, drawn, folder, wide)
    if minimise and row.outcome in (Outcome.WRONG, Outcome.CRASHED):
        row = _smallest(seed, drawn, row, folder, wide)
    yield row


def _tried(seed: int, drawn: drawing.Drawn, folder: Path, wide: bool) -> Row:
    model, data, held = drawing.save(drawn, folder)
    rng = np.random.default_rng([seed, 1000])
    precision = str(rng.choice(WIDE_PRECISIONS if wide else PRECISIONS))
    whole = seed % GPU_EVERY == 0
    trial = Trial(
        *(
            STUDY,
            f"{precision}, wide" if wide else precision,
            _name(seed, wide),
            model,
            data,
            held,
            drawn.held,
            precision,
        ),
        targets=("cpu", "t4", "a100") if whole else ("cpu", "t4"),
        limit_s=LIMIT_S,
        cpu_form="int8" if seed % 2 else "auto",
        quick=not whole,
    )
    return run(trial)


def _smallest(seed: int, drawn: drawing.Drawn, row: Row, folder: Path, wide: bool) -> Row:
    """The row of the model with the fewest steps that still ends as ``row`` does; its files are left in ``folder``."""
    without: frozenset[int] = frozenset(range(20)) - frozenset(drawn.steps)
    for step in reversed(drawn.steps):
        try:
            smaller = drawing.draw(seed, without | {step}, wide=wide)
        except Rejected:
            continue
        again = _tried(seed, smaller, folder, wide)
        if again.outcome is row.outcome:
            without, row = without | {step}, again
    drawing.save(drawing.draw(seed, without, wide=wide), folder)
    return row


if __name__ == "__main__":
    raise SystemExit(main())
