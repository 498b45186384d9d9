"""Random graphs in the form for TensorRT 8: ``python -m studies.tensorrt8.random_graphs --count 1000``.

The models of ``studies.breadth.drawing``, typed in FP16 and in INT8 with made-up ranges, lowered, and run beside the
typed graph with all in FP32. What TensorRT 8 would not take is counted by reason; a graph that means something else, or
a failure, is a finding.
"""

from __future__ import annotations

import argparse
import re
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx

from engines.engine import Feed
from engines.errors import EngineError
from graphs.errors import in_a_line
from graphs.macs import count_macs
from graphs.tensorrt8.lint import lint_tensorrt8
from optimizer.importing import import_model
from optimizer.passes.clean import clean
from optimizer.settings import Precision
from optimizer.tensorrt8.lowering import lowered_as_far_as_possible
from optimizer.tensorrt8.meaning import first_difference, same_meaning
from optimizer.typed.graph import type_by_structure
from studies.breadth import drawing
from studies.breadth.draft import Rejected

PRECISIONS = (Precision.FP16, Precision.INT8)
TAKEN, REFUSED, WRONG, FAILED, UNUSABLE = "taken", "refused", "wrong", "failed", "unusable"


@dataclass(frozen=True)
class Found:
    """``unusable``: the typed graph itself does not run, which other studies look at."""

    outcome: str
    reason: str = ""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000, help="seeds FIRST to FIRST + COUNT - 1")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--wide", action="store_true", help="layers wide enough to be INT8")
    asked = parser.parse_args(arguments)
    outcomes, reasons = Counter[str](), Counter[str]()
    for seed in range(asked.first, asked.first + asked.count):
        for precision in PRECISIONS:
            found = trial(seed, precision, wide=asked.wide)
            if found is None:
                continue
            outcomes[found.outcome] += 1
            if found.outcome == REFUSED:
                reasons[found.reason] += 1
            elif found.outcome in (WRONG, FAILED):
                print(f"{seed} {precision.value}: {found.outcome}: {found.reason}", flush=True)
    print(dict(outcomes))
    for reason, count in reasons.most_common():
        print(f"{count:5} {reason}")
    return 0


def trial(seed: int, precision: Precision, *, wide: bool = False) -> Found | None:
    """The outcome of one seed in one precision; None where nothing could be drawn from it."""
    try:
        drawn = drawing.draw(seed, wide=wide)
    except Rejected:
        return None
    feeds: list[Feed] = [dict(feed) for feed in drawn.held]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        onnx.save(drawn.model, path)
        return judged(path, precision, feeds)


def judged(path: Path, precision: Precision, feeds: list[Feed]) -> Found:
    """What becomes of one model."""
    model = import_model(path).model
    clean(model)
    shapes = {name: array.shape for name, array in feeds[0].items()}
    costs = {name: cost.macs for name, cost in count_macs(model, shapes).items() if cost.macs}
    typed = type_by_structure(model, precision, costs)
    try:
        lowered = lowered_as_far_as_possible(typed)
        findings = lint_tensorrt8(lowered.model)
        if findings:
            return Found(REFUSED, re.sub(r"'.*?'|\d+", "…", findings[0].message))
        try:
            same = same_meaning(typed, lowered, feeds)
        except EngineError as error:
            return Found(UNUSABLE, in_a_line(error))
        if same.near:
            return Found(TAKEN)
        return Found(WRONG, f"{same.why} first at {first_difference(typed, lowered, feeds[0])!r}")
    except Exception as error:  # a failure is what is looked for
        return Found(FAILED, in_a_line(error))


if __name__ == "__main__":
    raise SystemExit(main())
