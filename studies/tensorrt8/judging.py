"""What becomes of one model in the form for TensorRT 8."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engines.engine import Feed
from engines.errors import EngineError
from graphs.errors import BadInput, in_a_line
from graphs.reading.macs import count_macs
from graphs.tensorrt.tensorrt8.lint import lint_tensorrt8
from optimizer.importing import import_model
from optimizer.passes.clean import clean
from optimizer.settings.options import Precision
from optimizer.tensorrt8.lowering import lowered_as_far_as_possible
from optimizer.tensorrt8.meaning import first_difference, same_meaning
from optimizer.typed.graph import type_by_structure

TAKEN, REFUSED, WRONG, FAILED, UNUSABLE = "taken", "refused", "wrong", "failed", "unusable"


@dataclass(frozen=True)
class Found:
    """``unusable``: the model is refused on import, or its typed graph does not run: other studies look at that."""

    outcome: str
    reason: str = ""


def judged(path: Path, precision: Precision, feeds: Sequence[Feed]) -> Found:
    """Type the model with made-up ranges, lower it, and run both graphs beside each other with all in FP32."""
    try:
        try:
            model = import_model(path).model
            clean(model)
        except BadInput as error:
            return Found(UNUSABLE, in_a_line(error))
        shapes = {name: array.shape for name, array in feeds[0].items()}
        costs = {name: cost.macs for name, cost in count_macs(model, shapes).items() if cost.macs}
        typed = type_by_structure(model, precision, costs)
        lowered = lowered_as_far_as_possible(typed)
        if findings := lint_tensorrt8(lowered.model):
            return Found(REFUSED, findings[0].message)
        try:
            same = same_meaning(typed, lowered, feeds)
        except EngineError as error:
            return Found(UNUSABLE, in_a_line(error))
        if same.near:
            return Found(TAKEN)
        return Found(WRONG, f"{same.why} first at {first_difference(typed, lowered, feeds[0])!r}")
    except Exception as error:  # a failure is what is looked for
        return Found(FAILED, f"{type(error).__name__}: {in_a_line(error)}")


class Tally:
    """Counts outcomes and reasons, and prints findings as they come."""

    def __init__(self) -> None:
        self._outcomes, self._reasons = Counter[str](), Counter[str]()

    def add(self, name: str, found: Found) -> None:
        self._outcomes[found.outcome] += 1
        if found.outcome == REFUSED:
            self._reasons[re.sub(r"'.*?'|\b\d+", "…", found.reason)] += 1
        if found.outcome in (WRONG, FAILED):
            print(f"{name}: {found.outcome}: {found.reason}", flush=True)

    def show(self) -> None:
        print(dict(self._outcomes))
        for reason, count in self._reasons.most_common():
            print(f"{count:5} {reason}")
