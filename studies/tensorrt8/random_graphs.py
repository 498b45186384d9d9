"""Random graphs in the form for TensorRT 8: ``python -m studies.tensorrt8.random_graphs --count 1000``.

The models of ``studies.breadth.drawing``, typed in FP16 and in INT8 with made-up ranges, lowered, and run beside the
typed graph with all in FP32. What TensorRT 8 would not take is counted by reason; a graph that means something else, or
a failure, is a finding.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import onnx

from optimizer.settings.options import Precision
from studies.breadth import drawing
from studies.breadth.draft import Rejected
from studies.tensorrt8.judging import Found, Tally, judged

PRECISIONS = (Precision.FP16, Precision.INT8)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000, help="seeds FIRST to FIRST + COUNT - 1")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--wide", action="store_true", help="layers wide enough to be INT8")
    asked = parser.parse_args(arguments)
    tally = Tally()
    for seed in range(asked.first, asked.first + asked.count):
        for precision in PRECISIONS:
            found = trial(seed, precision, wide=asked.wide)
            if found is not None:
                tally.add(f"{seed} {precision.value}", found)
    tally.show()
    return 0


def trial(seed: int, precision: Precision, *, wide: bool = False) -> Found | None:
    """The outcome of one seed in one precision; None where nothing could be drawn from it."""
    try:
        drawn = drawing.draw(seed, wide=wide)
    except Rejected:
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        onnx.save(drawn.model, path)
        return judged(path, precision, [dict(feed) for feed in drawn.held])


if __name__ == "__main__":
    raise SystemExit(main())
