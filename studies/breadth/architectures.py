"""Architectures through the product, in two steps, because what exports them is no part of the product's environment:

    EXPORT/bin/python -m studies.breadth.architectures export --models FOLDER [NAME ...]
    python -m studies.breadth.architectures run --models FOLDER --out ROWS.jsonl [NAME ...]

The first needs studies/breadth/requirements.txt; weights are random and seeded, none is downloaded. The second runs
every ``NAME.onnx`` with ``NAME.npz`` to calibrate and ``NAME.held.npz`` to judge. Both go on where they stopped.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engines.engine import Feed
    from studies.breadth.trial import Trial

STUDY = "architectures"
TARGETS = ("cpu", "t4", "a100")
LIMIT_S = 240.0
"""Most an architecture may take, on two cores."""
POOR_DB = 20.0
"""SQNR below which the row says so."""
FEW = 2
"""Samples that a model is run on where one answer tells."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=("export", "run"))
    parser.add_argument("names", nargs="*", help="these only")
    parser.add_argument("--models", type=Path, default=Path("architectures"))
    parser.add_argument("--out", type=Path, default=Path("architectures/rows.jsonl"))
    parser.add_argument("--precision", default="int8")
    parser.add_argument("--limit", type=float, default=LIMIT_S, help="seconds a model may take")
    asked = parser.parse_intermixed_args(arguments)
    return _export(asked.models, asked.names) if asked.step == "export" else _run(asked)


def _export(folder: Path, names: Sequence[str]) -> int:
    from studies.breadth.zoo.torchvision_stand_ins import stand_in

    stand_in()
    from studies.breadth.zoo import language, small, vision
    from studies.breadth.zoo.export import export

    folder.mkdir(parents=True, exist_ok=True)
    failed = 0
    for made in (*small.architectures(), *language.architectures(), *vision.architectures()):
        if (names and made.name not in names) or (folder / f"{made.name}.json").exists():
            continue
        try:
            error = export(made, folder)
        except Exception as raised:  # a library's model code may raise anything where it is made
            error = f"{type(raised).__name__}: {' '.join(str(raised).split())[:200]}"
        failed += bool(error)
        print(f"{'FAILED' if error else 'ok    '} {made.name} {error}", flush=True)
    return int(failed > 0)


def _run(asked: argparse.Namespace) -> int:
    from studies.breadth.row import Outcome, append, read
    from studies.breadth.trial import run, warm_up

    warm_up()
    done = {row.name for row in read(asked.out) if row.precision == asked.precision}
    bad = 0
    for path in sorted(asked.models.glob("*.onnx")):
        if (asked.names and path.stem not in asked.names) or (not asked.names and path.stem in done):
            continue
        row = run(trial_of(path, asked.precision, asked.limit))
        append(asked.out, row)
        bad += row.outcome in (Outcome.WRONG, Outcome.CRASHED)
        poor = " POOR" if row.sqnr_db is not None and row.sqnr_db < POOR_DB else ""
        figures = f"{row.seconds:.0f} s ({row.cpu_seconds:.0f} s of CPU), {row.sqnr_db} dB, cpu {row.cpu_db} dB"
        print(f"{row.outcome.name:8} {row.name} {figures}{poor} {row.reason}", flush=True)
    return int(bad > 0)


def trial_of(path: Path, precision: str = "int8", limit_s: float = LIMIT_S) -> Trial:
    """What is tried of ``NAME.onnx``, with the data and the kind that stand beside it."""
    from studies.breadth.trial import Trial

    data, held, about = (path.with_suffix(suffix) for suffix in (".npz", ".held.npz", ".json"))
    kind = json.loads(about.read_text()).get("kind", "other") if about.exists() else "other"
    return Trial(
        *(STUDY, kind, path.stem, path, data, held, [_arrays(held)], precision),
        targets=TARGETS,
        limit_s=limit_s,
        real_types=False,
        cpu_form="int8",
    )


def few_rows(path: Path) -> Feed:
    """``FEW`` samples of a ``NAME.npz`` where all inputs have as many rows, else all there is."""
    found = _arrays(path)
    counts = {array.shape[:1] for array in found.values()}
    return {name: array[:FEW] for name, array in found.items()} if len(counts) == 1 and counts != {()} else found


def _arrays(path: Path) -> Feed:
    import numpy as np

    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


if __name__ == "__main__":
    sys.exit(main())
