"""Fit the efficiency factors and show their leave-one-out error: ``python -m studies.roofline.calibrate``.

Writes ``docs/roofline.md`` and ``benchmarks/roofline/factors.json``; takes about a minute.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.roofline.prediction import FACTORS, Calibration
from graphs.files import write_atomically, write_json
from studies.roofline.fit import FITTED_GPUS, VARIABLE_LENGTH, HeldOut, compare, fit, leave_one_out
from studies.roofline.page import page
from studies.roofline.published import WORKLOADS, published


def calibrate() -> tuple[Calibration, str]:
    """The calibration and its page in Markdown."""
    kernels = {load.benchmark: load.kernels() for load in WORKLOADS}
    rows = published()
    factors, held = fit(kernels, rows), leave_one_out(kernels, rows)
    found = Calibration(factors, worst_percent(held, "offline"), worst_percent(held, "singlestream"))
    return found, page(found, held, compare(kernels, rows, factors), kernels)


def worst_percent(held: Sequence[HeldOut], scenario: str) -> float:
    """Largest absolute error in percent on the fitted GPUs, of models that were held out, rounded up to a whole one."""
    errors = [
        abs(found.error)
        for model in held
        for found in model.comparisons
        if found.row.scenario == scenario and found.row.gpu in FITTED_GPUS
        if scenario == "offline" or found.row.benchmark not in VARIABLE_LENGTH
    ]
    return float(-(-max(errors) * 100 // 1))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m studies.roofline.calibrate", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/roofline.md"), help="the page")
    parser.add_argument("--factors", type=Path, default=FACTORS, help="the factors that predictions read")
    options = parser.parse_args(arguments)
    found, text = calibrate()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(options.out, text.encode())
    write_json(options.factors, found)
    sys.stdout.write(f"{options.out}\n{options.factors}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
